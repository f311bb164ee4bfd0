// The program of the sample targets. `sample serve` answers HTTP/1.1, HTTP/2 without TLS and WebSocket on HTTP_PORT, the same with TLS
// on HTTPS_PORT where TLS_CERT and TLS_KEY name its files,
// echoes TCP on TCP_PORT and UDP on UDP_PORT; the other commands are small clients for use inside a pod, where
// a static shell cannot resolve names.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const clientTimeout = 10 * time.Second

func main() {
	command, rest := "serve", []string{}
	if len(os.Args) > 1 {
		command, rest = os.Args[1], os.Args[2:]
	}
	commands := map[string]struct {
		arguments int
		run       func([]string) error
	}{
		"serve":   {0, serve},
		"get":     {1, get},
		"tcp":     {2, func(a []string) error { return exchange("tcp", a) }},
		"udp":     {2, func(a []string) error { return exchange("udp", a) }},
		"resolve": {1, resolve},
		"exit":    {0, func([]string) error { return nil }},
	}
	chosen, known := commands[command]
	if !known || len(rest) != chosen.arguments {
		fmt.Fprintln(os.Stderr, "usage: sample serve | get URL | tcp HOST:PORT TEXT | udp HOST:PORT TEXT | resolve NAME | exit")
		os.Exit(2)
	}
	if err := chosen.run(rest); err != nil {
		fmt.Fprintln(os.Stderr, "sample:", err)
		os.Exit(1)
	}
}

func serve([]string) error {
	failed := make(chan error, 4)
	go func() { failed <- serveHTTP(port("HTTP_PORT", "8080")) }()
	if os.Getenv("HTTPS_PORT") != "" {
		go func() { failed <- serveHTTPS(port("HTTPS_PORT", "")) }()
	}
	go func() { failed <- serveTCP(port("TCP_PORT", "7000")) }()
	go func() { failed <- serveUDP(port("UDP_PORT", "7001")) }()
	// As the first process of a container it gets no default handling of signals.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-failed:
		return err
	case <-stop:
		return nil
	}
}

// port: a sample listens where its manifest says, on IPv4 and IPv6.
func port(variable, otherwise string) string {
	if value := os.Getenv(variable); value != "" {
		return ":" + value
	}
	return ":" + otherwise
}

func get(arguments []string) error {
	client := http.Client{Timeout: clientTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(arguments[0])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if response.StatusCode >= 400 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

func exchange(network string, arguments []string) error {
	conn, err := net.DialTimeout(network, arguments[0], clientTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(clientTimeout))
	if _, err := conn.Write([]byte(arguments[1])); err != nil {
		return err
	}
	answer := make([]byte, len(arguments[1]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	_, err = os.Stdout.Write(answer)
	return err
}

func resolve(arguments []string) error {
	addresses, err := net.LookupHost(arguments[0])
	for _, address := range addresses {
		fmt.Println(address)
	}
	return err
}
