//go:build interop

package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"gatehouse/commissioner"
)

// maxLine bounds a line of an answer.
const maxLine = 4 << 20

// call asks a gateway's API. A stream's lines, or the one answer, go to each.
// A failure that the gateway tells of is a *commissioner.Failure.
func (b *box) call(ctx context.Context, method, path string, body any, each func(json.RawMessage)) error {
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway/api/v1/"+path, reader)
	if err != nil {
		return err
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var failed struct{ Error *commissioner.Failure }
		if err := json.Unmarshal(lines.Bytes(), &failed); err != nil {
			return fmt.Errorf("an answer that is no JSON: %w", err)
		}
		if failed.Error != nil {
			return failed.Error
		}
		each(lines.Bytes())
	}
	return lines.Err()
}

// ask is call for one answer.
func ask[T any](ctx context.Context, b *box, method, path string, body any) (answer T, err error) {
	err = io.ErrUnexpectedEOF // until there is an answer
	failed := b.call(ctx, method, path, body, func(line json.RawMessage) { err = json.Unmarshal(line, &answer) })
	if failed != nil {
		err = failed
	}
	return answer, err
}

// codeOf is the code of a failure that a gateway told of.
func codeOf(err error) commissioner.Code {
	var f *commissioner.Failure
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}
