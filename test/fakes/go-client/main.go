// A static program of many goroutines, for the engine's tests of the network.
package main

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	addresses, err := net.LookupHost("backend")
	fmt.Println(addresses, err)
	c, err := net.Dial("tcp", "10.99.1.1:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.RemoteAddr(), c.LocalAddr().(*net.TCPAddr).IP)
	_, err = net.Dial("tcp", "10.99.1.1:81")
	fmt.Println(err)
	var group sync.WaitGroup
	var ok atomic.Int32
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			r, err := http.Get(fmt.Sprintf("http://10.99.2.%d/", i))
			if err == nil {
				r.Body.Close()
				ok.Add(1)
			} else {
				fmt.Println(err)
			}
		}(i)
	}
	group.Wait()
	fmt.Println("ok", ok.Load())
	p, _ := net.ListenPacket("udp", ":0")
	p.WriteTo([]byte("ping"), &net.UDPAddr{IP: net.ParseIP("10.99.1.1"), Port: 98})
	p.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, from, err := p.ReadFrom(make([]byte, 1000))
	fmt.Println(from, err)
}
