// Prints for each name whether it is found.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	for _, name := range os.Args[1:] {
		if _, err := net.LookupHost(name); err != nil {
			fmt.Println(name, "none")
		} else {
			fmt.Println(name, "found")
		}
	}
}
