module github.com/edgews/edgews/examples

go 1.26

require github.com/edgews/edgews v0.0.0
