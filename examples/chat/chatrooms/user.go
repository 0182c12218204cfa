package chatrooms

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/edgews/edgews"
)

// A user may send Burst messages at once, in all rooms together, and one more after each Interval.
const Burst, Interval = 5, time.Second

// user is the object of a user, whom the rooms ask before they take a message. Nothing is stored: the object hibernates ten seconds after
// the last message, when the user may send a full burst again.
type user struct{ free time.Time } // from then on a full burst

func newUser(context.Context, *edgews.State) (edgews.Object, error) { return new(user), nil }

// ServeHTTP is not used: users have no page.
func (*user) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// Call has the method "send". It counts a message, and returns 0, or does not count it, and returns how long the user has to wait.
func (u *user) Call(_ context.Context, method string, _ json.RawMessage) (any, error) {
	if method != "send" {
		return nil, fmt.Errorf("%w: %q", edgews.ErrUnknownMethod, method)
	}
	now := time.Now()
	if u.free.Before(now) {
		u.free = now
	}
	if wait := u.free.Sub(now) - (Burst-1)*Interval; wait > 0 {
		return wait, nil
	}
	u.free = u.free.Add(Interval)
	return time.Duration(0), nil
}
