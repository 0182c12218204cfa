package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/edgews/edgews"
)

// GardenReminder is an object that stores what to remind of, and an alarm for when.
type GardenReminder struct{ st *edgews.State }

func NewGardenReminder(_ context.Context, st *edgews.State) (edgews.Object, error) {
	return &GardenReminder{st}, nil
}

func (o *GardenReminder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.st.Storage().Put(r.Context(), "text", []byte("water the plants")) == nil {
		_ = o.st.Storage().SetAlarm(r.Context(), time.Now().Add(24*time.Hour))
	}
}

func (o *GardenReminder) Alarm(ctx context.Context) error {
	text, err := o.st.Storage().Get(ctx, "text")
	if err == nil {
		fmt.Printf("%s: %s\n", o.st.ID().Name(), text)
	}
	return err
}

// An operator looks at an object that is not awake.
func ExampleNamespace_ScanStorage() {
	ctx := context.Background()
	reminders := edgews.NewNamespace("reminders", NewGardenReminder, nil)
	defer reminders.Shutdown(ctx)
	ann := reminders.ByName("ann")
	ask(ann)
	reminders.Hibernate(ctx, ann.ID())

	for e, err := range reminders.ScanStorage(ctx, ann.ID(), edgews.Range{}) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s is %q\n", e.Key, e.Value)
	}
	info, _ := reminders.Info(ann.ID())
	fmt.Println("the object is", info.State)
	// Output:
	// text is "water the plants"
	// the object is hibernated
}

// An operator looks at the alarms to come, and runs the first one now.
func ExampleNamespace_RunAlarm() {
	ctx := context.Background()
	reminders := edgews.NewNamespace("reminders", NewGardenReminder, nil)
	defer reminders.Shutdown(ctx)
	ask(reminders.ByName("ann"))

	alarms, err := reminders.Alarms(ctx, time.Time{}, 10)
	if err != nil {
		fmt.Println(err)
	}
	show := func(a edgews.AlarmInfo) { fmt.Printf("%s in %v\n", a.ID.Name(), time.Until(a.At).Round(time.Hour)) }
	for _, a := range alarms {
		show(a)
		fmt.Println(reminders.RunAlarm(ctx, a.ID))
	}
	// Output:
	// ann in 24h0m0s
	// ann: water the plants
	// <nil>
}

func ExampleNamespace_Alarm() {
	ctx := context.Background()
	reminders := edgews.NewNamespace("reminders", NewGardenReminder, nil)
	defer reminders.Shutdown(ctx)
	ann := reminders.ByName("ann")
	ask(ann)

	at, err := reminders.Alarm(ctx, ann.ID())
	fmt.Println("the alarm goes off in", time.Until(at).Round(time.Hour), err)
	// Output:
	// the alarm goes off in 24h0m0s <nil>
}

func ExampleSocket_Info() {
	client, server := edgews.NewPair()
	client.Accept()
	client.Send("nobody reads this yet")
	var info edgews.SocketInfo = client.Info()
	fmt.Println(info.State, info.Buffered, "bytes wait for", info.Remote)
	fmt.Println(server.Info().Opened.IsZero(), server.ID() > client.ID())
	// Output:
	// OPEN 21 bytes wait for pair
	// true true
}
