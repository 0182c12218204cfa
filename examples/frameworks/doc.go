// Package frameworks shows edgews behind routers, middleware and servers that others have written. Each of its tests is one to copy.
package frameworks
