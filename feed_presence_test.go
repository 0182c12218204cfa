package edgews_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// presenceModel says who is there, by the rules as they are documented.
type presenceModel struct {
	leaveAfter time.Duration
	sockets    map[string]int
	gone       map[string]time.Time // when the last socket ended, of those who are still there
	since      map[string]time.Time
	said       []string // what an observer is told
}

func (m *presenceModel) joins(who string) {
	m.pass()
	if _, here := m.since[who]; !here {
		m.since[who] = time.Now()
		m.said = append(m.said, "joined "+who)
	}
	m.sockets[who]++
	delete(m.gone, who)
}

func (m *presenceModel) ends(who string, after time.Duration) {
	m.pass()
	if m.sockets[who]--; m.sockets[who] == 0 {
		m.gone[who] = time.Now().Add(after)
		m.pass()
	}
}

// pass has those leave whose time is over, in the order of that time.
func (m *presenceModel) pass() {
	for {
		var next string
		for who, at := range m.gone {
			if !at.After(time.Now()) && (next == "" || at.Before(m.gone[next])) {
				next = who
			}
		}
		if next == "" {
			return
		}
		delete(m.gone, next)
		delete(m.since, next)
		delete(m.sockets, next)
		m.said = append(m.said, "left "+next)
	}
}

func (m *presenceModel) here() (all []edgews.Presence) {
	for who, since := range m.since {
		all = append(all, edgews.Presence{Who: who, Since: since.UTC(), Sockets: m.sockets[who]})
	}
	slices.SortFunc(all, func(a, b edgews.Presence) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return slices.Compare([]byte(a.Who), []byte(b.Who))
	})
	return all
}

// member is a socket of who.
type member struct {
	*reader
	who string
}

// TestFeedPresence has sockets join, end, change their names and leave at random, while the object hibernates and its value is lost, and
// compares Here and what an observer is told with a model.
func TestFeedPresence(t *testing.T) {
	for seed := range uint64(20) {
		for _, leaveAfter := range []time.Duration{0, 20 * time.Second, -1} {
			synctest.Test(t, func(t *testing.T) { presenceRun(t, seed, leaveAfter) })
			if t.Failed() {
				t.Fatalf("seed %d, LeaveAfter %v", seed, leaveAfter)
			}
		}
	}
}

func presenceRun(t *testing.T, seed uint64, leaveAfter time.Duration) {
	n := newFeedRooms(t, &edgews.NamespaceOptions{HibernateAfter: 3 * time.Second}, edgews.FeedOptions{LeaveAfter: leaveAfter})
	model := &presenceModel{sockets: make(map[string]int), gone: make(map[string]time.Time), since: make(map[string]time.Time), leaveAfter: leaveAfter}
	switch {
	case leaveAfter == 0:
		model.leaveAfter = 5 * time.Second
	case leaveAfter < 0:
		model.leaveAfter = 0
	}
	r := rand.New(rand.NewPCG(seed, 0))
	observer := n.join("", 0)
	observer.wants("cursor 0 here:")
	var members []member
	for range 150 {
		who := fmt.Sprintf("user%d", r.IntN(5))
		i := r.IntN(len(members) + 1)
		switch op := r.IntN(8); {
		case op < 3 || i == len(members):
			members = append(members, member{n.join(who, 0), who})
			require.NoError(t, members[len(members)-1].client.Accept())
			model.joins(who)
		case op < 5:
			members[i].client.Close(0, "")
			synctest.Wait()
			model.ends(members[i].who, model.leaveAfter)
			members = slices.Delete(members, i, i+1)
		case op == 5:
			require.NoError(t, n.awake().Leave(members[i].server))
			model.ends(members[i].who, 0)
			members = slices.Delete(members, i, i+1)
		case op == 6:
			require.NoError(t, n.awake().Join(t.Context(), members[i].server, who, 0))
			if was := members[i].who; was != who {
				model.ends(was, 0)
				model.joins(who)
				members[i].who = who
			}
		default:
			require.NoError(t, n.Hibernate(t.Context(), n.id))
		}
		if r.IntN(2) == 0 {
			time.Sleep(time.Duration(r.IntN(8000)) * time.Millisecond)
		}
		synctest.Wait()
		model.pass()
		require.Equal(t, model.here(), append([]edgews.Presence(nil), n.awake().Here()...))
		var told []string
		for range model.said {
			told = append(told, brief(observer.frame()))
		}
		require.Equal(t, byName(model.said), byName(told))
		model.said = nil
	}
	observer.wantsNothing()
}

// byName orders what an observer is told by whom it is about: who leaves first of those who leave at the same time is open.
func byName(said []string) []string {
	slices.SortStableFunc(said, func(a, b string) int { return strings.Compare(a[strings.Index(a, " "):], b[strings.Index(b, " "):]) })
	return said
}
