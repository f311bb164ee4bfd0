import java.net.InetAddress;
import java.net.UnknownHostException;

/** Prints for each name whether it is found. */
public class Names {
  public static void main(String[] names) {
    for (String name : names) {
      try {
        InetAddress.getByName(name);
        System.out.println(name + " found");
      } catch (UnknownHostException unknown) {
        System.out.println(name + " none");
      }
    }
  }
}
