package edgews_test

import (
	"testing"

	"github.com/edgews/edgews"
)

func BenchmarkBill(b *testing.B) {
	u := officeHours.Usage()
	b.ReportAllocs()
	for b.Loop() {
		edgews.DurableObjects.Bill(u)
	}
}

func BenchmarkAllows(b *testing.B) {
	u := edgews.Usage{Connections: 99_999}
	b.ReportAllocs()
	for b.Loop() {
		edgews.FreeDaily.Allows(u)
	}
}
