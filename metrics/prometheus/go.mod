module github.com/edgews/edgews/metrics/prometheus

go 1.26

require (
	github.com/edgews/edgews v0.0.0
	github.com/prometheus/client_golang v1.25.0
	github.com/stretchr/testify v1.12.1
)
