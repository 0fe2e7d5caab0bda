package secret

import "crypto/rand"

// easy are the characters of generated passwords: lower case and digits without 0, o, 1, i and l, which look alike.
const easy = "abcdefghjkmnpqrstuvwxyz23456789"

const (
	groups      = 4
	groupLength = 5
)

// Generate returns a new random password of 99 bits that is easy to read and type: four groups of five characters with
// hyphens between them.
func Generate() string {
	text := make([]byte, 0, groups*(groupLength+1))
	for i := range groups * groupLength {
		if i > 0 && i%groupLength == 0 {
			text = append(text, '-')
		}
		text = append(text, randomEasy())
	}
	return string(text)
}

// randomEasy takes 5 random bits and tries again for the one value of 32 that has no character, so that all are equally
// likely.
func randomEasy() byte {
	var b [1]byte
	for {
		rand.Read(b[:])
		if i := int(b[0] & 31); i < len(easy) {
			return easy[i]
		}
	}
}
