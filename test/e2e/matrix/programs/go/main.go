// The probe for static Go and for Go with the C library. See ../../matrix.test.ts for what a probe prints.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
	return value
}

func main() {
	fmt.Println("env=" + os.Getenv("GREETING"))
	fmt.Println("file=" + strings.TrimSpace(string(must(os.ReadFile("/data/plain.txt")))))
	fmt.Printf("list=%d\n", len(must(os.ReadDir("/data/many"))))
	fmt.Println("host=" + must(os.Hostname()))

	answer := must(http.Get("http://backend:8080/"))
	var described struct{ Name string }
	must(0, json.NewDecoder(answer.Body).Decode(&described))
	answer.Body.Close()
	fmt.Println("tcp=" + described.Name)

	datagrams := must(net.Dial("udp", "backend:7001"))
	datagrams.SetDeadline(time.Now().Add(10 * time.Second))
	must(datagrams.Write([]byte("by udp")))
	reply := make([]byte, 100)
	fmt.Println("udp=" + string(reply[:must(datagrams.Read(reply))]))

	listener := must(net.Listen("tcp", ":8080"))
	fmt.Println("listening")
	must(0, http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("request=" + r.URL.Path)
		fmt.Fprint(w, "probe "+os.Args[1])
	})))
}
