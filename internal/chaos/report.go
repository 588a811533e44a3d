package chaos

import (
	"fmt"
	"io"
)

const heading = "fault                                  sent stored published lost spurious corrupt doubled redelivered dead-lettered seconds\n"

func (v *verdict) print(out io.Writer) {
	fmt.Fprintf(out, "%-36s %6d %6d %9d %4d %8d %7d %7d %11d %13d %7.1f\n", v.fault, v.sent, v.stored, v.published,
		v.lost, v.spurious, v.corrupt, v.doubled, v.redelivered, v.deadLettered, v.seconds)
	for _, c := range v.complaints {
		fmt.Fprintf(out, "    %s\n", c)
	}
}
