module github.com/edgews/edgews

go 1.26

require (
	github.com/gobwas/ws v1.5.0
	github.com/klauspost/compress v1.20.3
	github.com/stretchr/testify v1.12.1
)
