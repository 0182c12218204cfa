package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews/inspect"
)

// readCluster asks for the clusters.
func (i *inspection) readCluster(ctx context.Context) (*reading, error) {
	report, err := ask[inspect.ClusterReport](ctx, i.client, inspect.CallCluster, nil)
	if err != nil {
		return nil, err
	}
	r := &reading{reply: report}
	for _, c := range report.Clusters {
		r.sheets = append(r.sheets, clusterSheets(c, millisTime(report.Now))...)
	}
	if len(report.Clusters) == 0 {
		r.text = "the namespaces of this server have no cluster"
	}
	return r, nil
}

// shownEvents is how many events of a cluster are printed, the last ones.
const shownEvents = 10

// clusterSheets returns what is to be said of a cluster: a line for each kind of thing, its nodes, its links, and what has changed.
func clusterSheets(c inspect.ClusterView, now time.Time) []sheet {
	sheets := []sheet{clusterSums(c, now), nodeSheet(c), linkSheet(c.Links, now)}
	if len(c.Events) > 0 {
		sheets = append(sheets, eventSheet(c.Events[:min(len(c.Events), shownEvents)]))
	}
	return sheets
}

func clusterSums(c inspect.ClusterView, now time.Time) sheet {
	s := sheet{
		title:    fmt.Sprintf("cluster %s, seen by node %s; protocol %d; namespaces %s", c.Name, c.Node, c.Version, strings.Join(c.Namespaces, ", ")),
		headless: true, columns: []column{{"", false, 0}, {"", false, 0}},
	}
	l, m, by := c.Lease, c.Moves, c.Shards.ByState
	lease := "fenced"
	if l.Valid {
		lease = durationText(l.Left) + " of " + durationText(l.TTL) + " left"
	}
	s.add("lease", lease+"; "+pairs("renewals", int(l.Renewals), "failed", int(l.Failures), "fenced before", int(l.Ended)))
	if l.Error != "" {
		s.add("last failure", fmt.Sprintf("%s ago: %s", age(l.ErrorAt, now), l.Error))
	}
	s.add("shards", fmt.Sprintf("%d; ", c.Shards.Count)+pairs("ready here", by["ready"], "waiting here", by["waiting"], "leaving", by["leaving"], "elsewhere", by["remote"],
		"without owner", by["unowned"]))
	for _, w := range c.Shards.Waiting[:min(len(c.Shards.Waiting), 1)] {
		s.add("", fmt.Sprintf("shard %d waits for the sockets of %s", w.Shard, strings.Join(w.Missing, ", ")))
	}
	s.add("moves", pairs("gained", int(m.Gained), "given", int(m.Given), "lost", int(m.Lost), "claiming", m.Claiming, "handing over", m.HandingOff, "conflicts", int(m.Conflicts)))
	s.add("durations", fmt.Sprintf("hand-over %s, last %s; until ready %s, last %s", orNone(m.Handover), orNone(m.LastHandover), orNone(m.ReadyTime), orNone(m.LastReady)))
	s.add("requests", pairs("waiting", c.Waiting, "sent again", int(c.Retries)))
	return s
}

// orNone is durationText with a dash for none.
func orNone(ms float64) string {
	if text := durationText(ms); text != "" {
		return text
	}
	return "–"
}

func nodeSheet(c inspect.ClusterView) sheet {
	s := sheet{columns: []column{
		{"NODE", false, 0}, {"STATE", false, 0}, {"SHARDS", true, 0}, {"OUR SOCKETS THERE", true, 2}, {"ITS SOCKETS HERE", true, 2}, {"RENEWED", true, 1},
		{"PROTOCOL", true, 4}, {"INCARNATION", false, 5}, {"ADDRESS", false, 3},
	}}
	for _, n := range c.Members {
		state := n.State
		if n.EdgeOnly {
			state += ", edge only"
		}
		if n.ID == c.Node {
			state += ", this node"
		}
		renewed := ""
		if n.State != "absent" {
			renewed = orNone(n.BeatAge)
		}
		s.add(n.ID, state, fmt.Sprint(n.Shards), fmt.Sprint(n.EdgeSockets), fmt.Sprint(n.HomeSockets), renewed, fmt.Sprintf("%d–%d", n.Versions[0], n.Versions[1]), n.Incarnation,
			n.Addr)
	}
	return s
}

func linkSheet(links []inspect.ClusterLink, now time.Time) sheet {
	s := sheet{columns: []column{
		{"LINK", false, 0}, {"FOR", false, 1}, {"STATE", false, 0}, {"SINCE", true, 0}, {"RECONNECTS", true, 3}, {"CHANNELS", true, 2}, {"FRAMES IN", true, 5}, {"OUT", true, 5},
		{"BYTES IN", true, 4}, {"OUT", true, 4}, {"QUEUED", true, 2}, {"PING", true, 3}, {"ERROR", false, 6},
	}}
	for _, l := range links {
		whose, state, problem := "its clients", "disconnected", l.Error
		if l.Dialed {
			whose = "our clients"
		}
		if l.Connected {
			state, problem = "connected", ""
		}
		s.add(l.Member, whose, state, age(l.Since, now), countText(max(0, l.Connections-1)), fmt.Sprint(l.Channels), fmt.Sprint(l.FramesIn), fmt.Sprint(l.FramesOut), sizeText(l.BytesIn),
			sizeText(l.BytesOut), sizeText(l.Unacknowledged), durationText(l.RoundTrip), problem)
	}
	return s
}

// eventSheet prints events, of which the newest is given first, with the newest last.
func eventSheet(events []inspect.ClusterNews) sheet {
	s := sheet{columns: []column{{"TIME", false, 0}, {"CHANGE", false, 0}, {"NODE", false, 0}, {"TEXT", false, 0}}}
	for _, e := range slices.Backward(events) {
		text := e.Reason
		if e.Gained+e.Given+e.Lost > 0 {
			text = pairs("gained", e.Gained, "given", e.Given, "lost", e.Lost)
			if e.Took > 0 {
				text += "; took " + durationText(e.Took)
			}
		}
		s.add(timeText(e.At), e.Kind, e.Member, text)
	}
	return s
}
