package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
)

const (
	webSocketKeySuffix   = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, section 1.3
	longestFrameBytes    = 16 << 20
	longestDatagramBytes = 64 << 10
)

func serveTCP(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

func serveUDP(address string) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, longestDatagramBytes)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		conn.WriteTo(buffer[:n], from)
	}
}

func webSocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if key == "" {
		http.Error(w, "this route speaks WebSocket", http.StatusUpgradeRequired)
		return
	}
	conn, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "WebSocket needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	defer conn.Close()
	sum := sha1.Sum([]byte(key + webSocketKeySuffix))
	stream.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
	for stream.Flush() == nil {
		first, payload, err := readFrame(stream.Reader)
		if err != nil {
			return
		}
		const ping, pong, closing = 9, 10, 8
		if first&0x0f == ping {
			first = first&0xf0 | pong
		}
		writeFrame(stream.Writer, first, payload)
		if first&0x0f == closing {
			stream.Flush()
			return
		}
	}
}

// A client's frame: final bit and opcode, mask bit and length (7 bits, 126: 16 bits more, 127: 64 more), mask, payload.
func readFrame(from *bufio.Reader) (byte, []byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(from, head); err != nil {
		return 0, nil, err
	}
	length := uint64(head[1] & 0x7f)
	if wide := map[uint64]int{126: 2, 127: 8}[length]; wide > 0 {
		bytes := make([]byte, 8)
		if _, err := io.ReadFull(from, bytes[8-wide:]); err != nil {
			return 0, nil, err
		}
		length = binary.BigEndian.Uint64(bytes)
	}
	if length > longestFrameBytes || head[1]&0x80 == 0 {
		return 0, nil, io.ErrShortBuffer
	}
	rest := make([]byte, 4+length)
	if _, err := io.ReadFull(from, rest); err != nil {
		return 0, nil, err
	}
	mask, payload := rest[:4], rest[4:]
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head[0], payload, nil
}

func writeFrame(to *bufio.Writer, first byte, payload []byte) {
	to.WriteByte(first)
	switch n := len(payload); {
	case n < 126:
		to.WriteByte(byte(n))
	case n < 1<<16:
		to.WriteByte(126)
		to.Write(binary.BigEndian.AppendUint16(nil, uint16(n)))
	default:
		to.WriteByte(127)
		to.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	to.Write(payload)
}
