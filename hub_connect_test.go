package edgews_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// TestConnectHasAPlace: sockets of Stub.Connect count for the limits of the namespace, and their places are free again when they end.
func TestConnectHasAPlace(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"Upgrade": func(w http.ResponseWriter, r *http.Request) error {
			s, err := edgews.Upgrade(w, r, nil)
			if err != nil {
				return err
			}
			return s.Accept()
		},
		"Respond": func(w http.ResponseWriter, r *http.Request) error {
			client, server := edgews.NewPair()
			if err := server.Accept(); err != nil {
				return err
			}
			return edgews.Respond(w, r, client, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ns := edgews.NewNamespace("rooms", func(context.Context, *edgews.State) (edgews.Object, error) {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = answer(w, r) }), nil
				}, &edgews.NamespaceOptions{MaxSockets: 1})
				defer ns.Shutdown(t.Context())
				connect := func() (*edgews.Socket, int) {
					s, resp, err := ns.Get(ns.IDFromName("a")).Connect(t.Context(), nil)
					if err == nil {
						return s, resp.StatusCode
					}
					require.ErrorIs(t, err, edgews.ErrConnectionLimit)
					return nil, resp.StatusCode
				}
				for range 3 {
					s, status := connect()
					require.Equal(t, http.StatusSwitchingProtocols, status)
					_, status = connect()
					require.Equal(t, http.StatusServiceUnavailable, status)
					require.NoError(t, s.Accept())
					require.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
					<-s.Done()
					synctest.Wait()
				}
			})
		})
	}
}
