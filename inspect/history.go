package inspect

import (
	"math"
	"slices"
	"sync"
	"time"
)

// tickInterval is the shortest step of the history.
const tickInterval = time.Second

// recentTicks is how many of the 10-second steps Overview.Recent is about.
const recentTicks = 6

// history is the sums and numbers of the past, in three resolutions.
type history struct {
	mu sync.Mutex // the samples' mutexes are locked under it

	// Guarded by mu.
	timer  *time.Timer
	last   totals
	series [3]series
	recent []histogram // of latency, at the ends of the last 10-second steps; oldest first
}

// series is the history in one resolution.
type series struct {
	step   time.Duration
	max    int // points
	at     time.Time
	sums   totals // at the end of the last step
	points []point
}

// seriesCount is the number of SeriesNames.
const seriesCount = 23

// point is the values at the end of one step, in the order of SeriesNames; NaN: not known.
type point struct {
	at     int64
	values [seriesCount]float32
}

// gauges are numbers at one moment; NaN: not known.
type gauges struct{ open, parked, slow, awake, active, hibernated float64 }

// wake starts the timer of the history, unless it is set.
func (i *Inspector) wake() {
	if !i.ticking.Load() {
		i.startTicking()
	}
}

func (i *Inspector) startTicking() {
	h := &i.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if i.ticking.Load() {
		return
	}
	now := time.Now()
	i.clock.Store(now.UnixMilli())
	if h.timer == nil {
		h.last = i.counters.totals()
		h.begin(now)
		h.timer = time.AfterFunc(tickInterval, i.tick)
	} else {
		h.timer.Reset(tickInterval)
	}
	i.ticking.Store(true)
}

// begin makes the series, which begin now.
func (h *history) begin(now time.Time) {
	h.series = [3]series{
		{step: time.Second, max: 600}, {step: 10 * time.Second, max: 360}, {step: time.Minute, max: 720},
	}
	for j := range h.series {
		h.series[j].at, h.series[j].sums = now, h.last
	}
}

// tick adds points to the history, and has the timer run on if anything has happened since the last tick or a page is open.
func (i *Inspector) tick() {
	g := i.gauges()
	h := &i.history
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	i.clock.Store(now.UnixMilli())
	t := i.counters.totals()
	h.addLocked(now, t, g)
	idle := t == h.last && i.hub.Len() == 0
	h.last = t
	if idle {
		i.ticking.Store(false)
		if i.counters.totals() == t { // otherwise something has happened before the Store
			return
		}
		i.ticking.Store(true)
	}
	h.timer.Reset(tickInterval)
}

// addLocked adds points for the steps that have ended. mu must be held.
func (h *history) addLocked(now time.Time, t totals, g gauges) {
	for j := range h.series {
		if h.series[j].add(now, t, g) && h.series[j].step == 10*time.Second {
			if len(h.recent) > recentTicks {
				h.recent = slices.Delete(h.recent, 0, 1)
			}
			h.recent = append(h.recent, t.latency)
		}
	}
}

// add adds a point if a step has ended, to within half a tick. For steps in which the timer has not run there are points without traffic: what
// was counted in an unfinished step before such a pause is in the point after it.
func (s *series) add(now time.Time, t totals, g gauges) bool {
	n := int((now.Sub(s.at) + tickInterval/2) / s.step)
	if n < 1 {
		return false
	}
	for k := max(1, n-s.max); k < n; k++ {
		flat := gauges{g.open, math.NaN(), g.slow, g.awake, math.NaN(), g.hibernated}
		s.append(newPoint(s.at.Add(time.Duration(k)*s.step), s.step, t, t, flat))
	}
	took := now.Sub(s.at.Add(time.Duration(n-1) * s.step))
	s.append(newPoint(now, took, t, s.sums, g))
	s.at, s.sums = now, t
	return true
}

func (s *series) append(p point) {
	if len(s.points) == s.max {
		copy(s.points, s.points[1:])
		s.points = s.points[:s.max-1]
	}
	s.points = append(s.points, p)
}

// newPoint returns the point of a step that took so long, between two sums.
func newPoint(at time.Time, took time.Duration, t, before totals, g gauges) point {
	rate := func(now, before int64) float32 { return float32(float64(now-before) / took.Seconds()) }
	latency, roundTrip := t.latency.less(&before.latency), t.roundTrip.less(&before.roundTrip)
	return point{at.UnixMilli(), [seriesCount]float32{
		float32(g.open), float32(g.parked), float32(g.slow), float32(g.awake), float32(g.active), float32(g.hibernated),
		rate(t.messagesIn, before.messagesIn), rate(t.messagesOut, before.messagesOut), rate(t.bytesIn, before.bytesIn),
		rate(t.bytesOut, before.bytesOut), rate(t.wireIn, before.wireIn), rate(t.wireOut, before.wireOut), rate(t.dropped, before.dropped),
		rate(t.opened, before.opened), rate(t.closed, before.closed), rate(t.refused, before.refused), rate(t.crashed, before.crashed),
		rate(t.alarms, before.alarms), rate(t.commits, before.commits),
		pointQuantile(&latency, 0.5), pointQuantile(&latency, 0.99), pointQuantile(&roundTrip, 0.5), pointQuantile(&roundTrip, 0.99),
	}}
}

// pointQuantile returns a quantile in milliseconds, or NaN.
func pointQuantile(h *histogram, q float64) float32 {
	if h.count() == 0 {
		return float32(math.NaN())
	}
	return float32(millis(h.quantile(q)))
}

// gauges returns the numbers of now. Those of samples are NaN if there is no new one.
func (i *Inspector) gauges() gauges {
	g := gauges{open: float64(i.sockets.count.Load()), parked: math.NaN(), slow: float64(i.counters.slow.Load()), active: math.NaN()}
	awake, hibernated := i.objects.on.counts()
	g.awake, g.hibernated = float64(awake), float64(hibernated)
	if s := i.socketSamples.fresh(); s != nil {
		g.parked = float64(s.parked)
	}
	if s := i.objectCounts.fresh(); s != nil {
		g.active = float64(s.active)
	}
	return g
}

// answer returns the history that q asks for.
func (h *history) answer(q HistoryQuery) (History, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	step := time.Second
	if q.Step != 0 {
		step = time.Duration(q.Step * float64(time.Millisecond))
	}
	answer := History{Step: millis(step), Times: []int64{}, Series: make(map[string][]*float64)}
	at := slices.IndexFunc(h.series[:], func(s series) bool { return s.step == step })
	if at < 0 && h.timer != nil {
		return History{}, badRequest("step must be 1000, 10000 or 60000, it is %v", q.Step)
	}
	var points []point
	if at >= 0 {
		points = h.series[at].points
	}
	from, _ := slices.BinarySearchFunc(points, q.After+1, func(p point, at int64) int { return int(max(-1, min(1, p.at-at))) })
	for n, name := range SeriesNames {
		column := make([]*float64, 0, len(points)-from)
		for _, p := range points[from:] {
			column = append(column, p.value(n))
		}
		answer.Series[name] = column
	}
	for _, p := range points[from:] {
		answer.Times = append(answer.Times, p.at)
	}
	return answer, nil
}

// value returns the n-th value, or nil if it is not known.
func (p *point) value(n int) *float64 {
	if v := float64(p.values[n]); !math.IsNaN(v) {
		return &v
	}
	return nil
}

// rates returns the rates of the last step, or zeros if nothing has happened since.
func (i *Inspector) rates() (r MessageRates) {
	h := &i.history
	h.mu.Lock()
	defer h.mu.Unlock()
	points := h.series[0].points
	if !i.ticking.Load() || len(points) == 0 {
		return r
	}
	v := points[len(points)-1].values
	return MessageRates{In: float64(v[6]), Out: float64(v[7]), BytesIn: float64(v[8]), BytesOut: float64(v[9])}
}

// recentLatency returns the latencies of the last minute.
func (i *Inspector) recentLatency(now *histogram) Quantiles {
	h := &i.history
	h.mu.Lock()
	defer h.mu.Unlock()
	var before histogram
	if len(h.recent) > recentTicks {
		before = h.recent[0]
	}
	recent := now.less(&before)
	return recent.quantiles()
}
