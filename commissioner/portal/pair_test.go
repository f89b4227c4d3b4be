package portal

import (
	"testing"

	"gatehouse/commissioner"
)

// TestQuestions answers each question with what fits, once.
func TestQuestions(t *testing.T) {
	for name, c := range map[string]struct {
		about commissioner.Question
		a     AnswerRequest
		want  bool
	}{
		"software, accepted":  {commissioner.Question{Software: &commissioner.Software{}}, AnswerRequest{Accept: true}, true},
		"software, given up":  {commissioner.Question{Software: &commissioner.Software{}}, AnswerRequest{Cancel: true}, true},
		"software, a network": {commissioner.Question{Software: &commissioner.Software{}}, AnswerRequest{Network: "iot"}, false},
		"networks, a network": {commissioner.Question{}, AnswerRequest{Network: "iot"}, true},
		"networks, given up":  {commissioner.Question{}, AnswerRequest{Cancel: true}, true},
		"networks, accepted":  {commissioner.Question{}, AnswerRequest{Accept: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var q questions
			id, answer := q.open(c.about)
			if got := q.take(id, c.a); got != c.want || len(answer) == 1 != c.want {
				t.Errorf("taken: %v, %d answers", got, len(answer))
			}
			q.forget(id)
			if q.take(id, c.a) || q.take("", AnswerRequest{Cancel: true}) {
				t.Error("an answer to no question is taken")
			}
		})
	}
}
