package frameworks

import (
	"fmt"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// otelhttp passes connections on. The span of a request is that of the handshake: it ends when the handler returns, while the socket stays
// open.
func Example_otelhttp() {
	spans := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	url, stop := serve(otelhttp.NewHandler(http.HandlerFunc(socket), "socket", otelhttp.WithTracerProvider(provider)))
	fmt.Println(say(url, "hello"))
	stop() // waits for the handler
	for _, span := range spans.Ended() {
		fmt.Println("span", span.Name())
	}
	// Output:
	// echo of hello
	// span GET
}
