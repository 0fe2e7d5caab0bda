package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkDrainLimit drains one maildrop of 4 KiB messages with `letterbox bench`, one command at a time and 32 pipelined, and
// does the same with a process that knows the answers by heart: what is the most that any server can do with this client on this
// machine. Turn by turn, the median counts. Run it with -benchtime 1x.
func BenchmarkDrainLimit(b *testing.B) {
	const messages = 5000
	s, limit := serve(b), startEcho(b, messages)
	for b.Loop() {
		for _, window := range []int{1, 32} {
			var own, most []float64
			for range benchRounds {
				benchRate(b, "smtp", "--target", s.addr["smtp"], "--to", alice, "--messages", strconv.Itoa(messages), "--connections", "20")
				own = append(own, drainRate(b, s.addr["pop3"], window))
				most = append(most, drainRate(b, limit, window))
			}
			name := "window" + strconv.Itoa(window)
			b.ReportMetric(median(own), name+"/s")
			b.ReportMetric(median(most), name+"-limit/s")
			b.ReportMetric(median(own)/median(most), name+"-ratio")
		}
	}
}

func drainRate(b *testing.B, target string, window int) float64 {
	b.Helper()
	return benchRate(b, "pop3", "drain", "--target", target, "--user", alice, "--window", strconv.Itoa(window), "--delete")
}

// benchRate runs `letterbox bench` and returns what it did in a second.
func benchRate(b *testing.B, args ...string) float64 {
	b.Helper()
	cmd := letterbox(b, append(append([]string{"bench"}, args...), "--time", "1m", "--json")...)
	cmd.Env = append(cmd.Env, "LETTERBOX_BENCH_PASSWORD="+password)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var got struct {
		PerSecond float64 `json:"per_second"`
	}
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil || got.PerSecond == 0 {
		b.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	return got.PerSecond
}

// echoEnv makes a process of this test's binary an echo of a maildrop with so many messages.
const echoEnv = "LETTERBOX_E2E_ECHO"

// startEcho starts a process that answers the commands of a drain, and returns its address.
func startEcho(b *testing.B, messages int) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), echoEnv+"="+strconv.Itoa(messages))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close() // it ends with it
		cmd.Wait()
	})
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// echo serves until its standard input ends.
func echo(messages string) error {
	n, err := strconv.Atoi(messages)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go echoTo(conn, echoAnswers(n))
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// echoAnswers are what is answered to a command, by the first letter of its verb.
func echoAnswers(messages int) map[byte][]byte {
	message := header + "\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 4<<10/78)
	var list, capabilities strings.Builder
	list.WriteString("+OK\r\n")
	for i := range messages {
		fmt.Fprintf(&list, "%d %d\r\n", i+1, len(message))
	}
	list.WriteString(".\r\n")
	capabilities.WriteString("+OK\r\nPIPELINING\r\n.\r\n")
	return map[byte][]byte{
		'L': []byte(list.String()), 'C': []byte(capabilities.String()),
		'R': fmt.Appendf(nil, "+OK %d octets\r\n%s.\r\n", len(message), message),
	}
}

// echoTo answers what has come with one write.
func echoTo(conn net.Conn, answers map[byte][]byte) {
	defer conn.Close()
	if _, err := io.WriteString(conn, "+OK\r\n"); err != nil {
		return
	}
	request, reply := make([]byte, 8<<10), []byte(nil)
	for {
		n, err := conn.Read(request)
		if err != nil {
			return
		}
		reply = reply[:0]
		for line := range bytes.Lines(request[:n]) { // the client's writes are small, and come whole
			answer, ok := answers[line[0]]
			if !ok {
				answer = []byte("+OK\r\n")
			}
			reply = append(reply, answer...)
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}
