package ignore

func reported(p *int) int {
	if p == nil {
		return *p // want "nil dereference in load"
	}
	return 0
}

func ignoredFromAbove(p *int) int {
	if p == nil {
		//nolint:nilness // the test wants this one silent
		return *p
	}
	return 0
}

func ignoredOnTheLine(p *int) int {
	if p == nil {
		return *p //nolint:nilness // the test wants this one silent
	}
	return 0
}

func withoutReason(p *int) int {
	if p == nil {
		//nolint:nilness
		return *p // want "nil dereference in load"
	}
	return 0
}

func forAnotherCheck(p *int) int {
	if p == nil {
		//nolint:errorlint // the reason of another check
		return *p // want "nil dereference in load"
	}
	return 0
}
