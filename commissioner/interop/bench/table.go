package main

import (
	"fmt"
	"slices"
	"time"
)

// row prints one line of the table: ours, theirs and what ours should be.
func row(what, ours, theirs, target string) {
	fmt.Printf("%-46s %16s %16s  %s\n", what, ours, theirs, target)
}

func head(what string) {
	fmt.Println()
	row(what, "gatehouse", "matter.js", "target")
}

// verdict says whether ours is at most the target.
func verdict(ours, target float64, text string) string {
	if ours <= target {
		return text + ": met"
	}
	return text + ": MISSED"
}

type sample []time.Duration

func (s sample) median() time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[len(sorted)/2]
}

// percentile is the least value that so many of a hundred do not exceed.
func (s sample) percentile(percent int) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[(len(sorted)*percent+99)/100-1]
}

// spread prints how a sample of ours spreads.
func spread(what string, s sample, target string) {
	fmt.Printf("%-46s %10s median %10s 99 %% %10s most  %s\n", what, ms(s.median()), ms(s.percentile(99)), ms(s.percentile(100)), target)
}

func (s sample) min() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return slices.Min(s)
}

func (s sample) String() string {
	return fmt.Sprintf("%s (%s)", ms(s.median()), ms(s.min()))
}

func (s sample) mean() (mean time.Duration) {
	for _, d := range s {
		mean += d / time.Duration(len(s))
	}
	return mean
}

// ms shows a duration in milliseconds.
func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	if v < 10 {
		return fmt.Sprintf("%.2f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}

// fromMS is the inverse, for numbers that matter.js tells.
func fromMS(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func mebibytes(octets int64) string { return fmt.Sprintf("%.0f MiB", float64(octets)/(1<<20)) }

func rate(n int, d time.Duration) string { return fmt.Sprintf("%.0f/s", float64(n)/d.Seconds()) }
