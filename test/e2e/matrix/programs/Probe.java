import com.sun.net.httpserver.HttpServer;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;

/** See ../matrix.test.ts for what a probe prints. */
class Probe {
    public static void main(String[] words) throws Exception {
        System.out.println("env=" + System.getenv("GREETING"));
        System.out.println("file=" + Files.readString(Path.of("/data/plain.txt")).trim());
        try (var names = Files.list(Path.of("/data/many"))) {
            System.out.println("list=" + names.count());
        }
        System.out.println("host=" + InetAddress.getLocalHost().getHostName());

        var request = HttpRequest.newBuilder(URI.create("http://backend:8080/")).build();
        var body = HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body();
        var name = Pattern.compile("\"name\":\"(\\w+)\"").matcher(body);
        name.find();
        System.out.println("tcp=" + name.group(1));

        try (var socket = new DatagramSocket()) {
            socket.setSoTimeout(10_000);
            var asked = "by udp".getBytes();
            socket.send(new DatagramPacket(asked, asked.length, InetAddress.getByName("backend"), 7001));
            var answer = new DatagramPacket(new byte[100], 100);
            socket.receive(answer);
            System.out.println("udp=" + new String(answer.getData(), 0, answer.getLength()));
        }

        var server = HttpServer.create(new InetSocketAddress("0.0.0.0", 8080), 0);
        server.createContext("/", exchange -> {
            System.out.println("request=" + exchange.getRequestURI().getPath());
            var answer = ("probe " + words[0]).getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
        System.out.println("listening");
    }
}
