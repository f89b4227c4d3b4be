package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
)

// answer answers a question of a pairing: a person at the terminal or, with
// --json, whoever writes the answers, one a line, to standard input.
func (g *globals) answer(ctx context.Context, asked portal.Asked) error {
	q := &asked.Question
	for {
		var a portal.AnswerRequest
		var err error
		switch {
		case g.JSON:
			a, err = readAnswer()
		case q.Software != nil:
			a, err = askSoftware(q.Software)
		default:
			a, err = askNetwork(q.Question)
		}
		if err != nil {
			a = portal.AnswerRequest{Cancel: true}
		}
		err = g.call(ctx, "POST", "questions/"+q.ID, a, func(json.RawMessage) error { return nil })
		var f *commissioner.Failure
		if !errors.As(err, &f) {
			return err
		}
		report(g, *f) // it is not well formed: once more
	}
}

func readAnswer() (a portal.AnswerRequest, err error) {
	line, err := input.ReadBytes('\n')
	if len(line) == 0 {
		return a, err
	}
	return a, json.Unmarshal(line, &a)
}

// askSoftware shows what speaks against a device's software.
func askSoftware(s *commissioner.Software) (portal.AnswerRequest, error) {
	fmt.Fprintf(os.Stderr, "%s runs version %s:\n", s.Product, s.Version)
	for _, r := range s.Reasons {
		fmt.Fprintf(os.Stderr, "  %s\n", r.Message)
	}
	fmt.Fprint(os.Stderr, "It would come into quarantine, where only gateways reach it, ")
	if s.Update != "" {
		fmt.Fprintf(os.Stderr, "until it is updated to version %s.\n", s.Update)
	} else {
		fmt.Fprintln(os.Stderr, "until there is better software for it.")
	}
	fmt.Fprint(os.Stderr, "y lets it in; empty gives up: ")
	line, err := input.ReadString('\n')
	yes := strings.EqualFold(strings.TrimSpace(line), "y")
	return portal.AnswerRequest{Accept: yes, Cancel: !yes}, err
}

// askNetwork shows the networks that the device sees and asks which to take.
func askNetwork(q commissioner.Question) (a portal.AnswerRequest, err error) {
	if q.Failure != nil {
		fmt.Fprintf(os.Stderr, "%s\n  what to do: %s\n", q.Failure.Message, q.Failure.Remedy)
	}
	fmt.Fprintln(os.Stderr, "The device needs a network. It sees:")
	for i, s := range q.Seen {
		note := ""
		if s.Known != "" {
			note = ", known here as " + s.Known
		}
		fmt.Fprintf(os.Stderr, "  %d  %-24s %-6s %4d dBm%s\n", i+1, s.Name, s.Kind, s.Signal, note)
	}
	fmt.Fprint(os.Stderr, "number, or name; empty gives up: ")
	line, err := input.ReadString('\n')
	choice := strings.TrimSpace(line)
	if choice == "" {
		return portal.AnswerRequest{Cancel: true}, err
	}
	seen := commissioner.Seen{Kind: "wifi", ID: []byte(choice), Name: choice}
	if n, err := strconv.Atoi(choice); err == nil && n >= 1 && n <= len(q.Seen) {
		seen = q.Seen[n-1]
	} else if i := slices.IndexFunc(q.Seen, func(s commissioner.Seen) bool { return s.Name == choice || s.Known == choice }); i >= 0 {
		seen = q.Seen[i]
	}
	switch {
	case seen.Known != "" && q.Tried != seen.Known:
		return portal.AnswerRequest{Network: seen.Known}, nil
	case seen.Kind == "thread":
		a.Dataset, err = secretLine("operational dataset in hex: ")
	case seen.Open:
		a.SSID, a.Open = string(seen.ID), true
	default:
		a.SSID = string(seen.ID)
		a.Password, err = secretLine(fmt.Sprintf("password of %s: ", seen.Name))
	}
	a.SaveAs = seen.Name
	if seen.Known != "" {
		a.SaveAs = seen.Known
	}
	return a, err
}
