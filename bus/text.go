package bus

// maxReason and maxError bound what is sent along with a message given up.
const (
	maxReason = 64
	maxError  = 512
)

// oneLine returns s in at most limit bytes of printable ASCII, which is what a
// header and a log line can carry; anything else in s becomes a question mark.
func oneLine(s string, limit int) string {
	line := make([]byte, 0, min(len(s), limit))
	for _, r := range s {
		if len(line) == limit {
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		line = append(line, byte(r))
	}
	return string(line)
}
