package rule

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) add(i int32) { b[i>>6] |= 1 << (i & 63) }

func (b bitset) has(i int32) bool { return b[i>>6]>>(i&63)&1 != 0 }

func (b bitset) any() bool {
	for _, word := range b {
		if word != 0 {
			return true
		}
	}
	return false
}

// join adds what is in other, which is of the same size.
func (b bitset) join(other bitset) {
	for i := range b {
		b[i] |= other[i]
	}
}

// keep removes what is not in other, which is of the same size.
func (b bitset) keep(other bitset) {
	for i := range b {
		b[i] &= other[i]
	}
}
