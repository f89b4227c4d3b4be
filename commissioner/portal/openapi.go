package portal

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"gatehouse/commissioner/portal/door"
)

// Samples of bodies that no type of ours describes.
type (
	anyObject  struct{} // a JSON object of somebody else's standard
	bareOctets struct{} // no JSON
	eventLines struct{} // server-sent events
)

var (
	object = anyObject{}
	octets = bareOctets{}
	events = eventLines{}
)

// lineTypes are the lines of a stream: one JSON object a line. The last one may
// be an error instead.
type lineTypes []any

func lines(samples ...any) lineTypes { return samples }

// openAPI describes the API as OpenAPI 3.1, made of the table of routes and the
// Go types of requests and answers.
func (p *Portal) openAPI(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, describe(p.routes()))
}

type dict = map[string]any

func describe(routes []route) dict {
	d := &schemas{of: dict{}}
	failure := dict{"description": "Refused or failed", "content": dict{"application/json": dict{"schema": d.ref(reflect.TypeFor[errorBody]())}}}
	paths := dict{}
	for _, r := range routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.ReplaceAll(path, "...}", "}")
		operation := dict{"summary": r.what, "operationId": operationID(method, path), "x-needs": r.act.Need.String(),
			"responses": dict{"200": dict{"description": "Done", "content": d.content(r.out)}, "default": failure}}
		if r.act.Critical {
			operation["x-critical"] = "takes a second factor shown just now"
			if r.act.Delegable {
				operation["x-critical"] = "takes a second factor shown just now, or an administrator's token"
			}
		}
		if r.act.Need == door.Nothing {
			operation["security"] = []any{}
		}
		if r.in != nil {
			operation["requestBody"] = dict{"required": true, "content": d.content(r.in)}
		}
		if parameters := pathParameters(path); parameters != nil {
			operation["parameters"] = parameters
		}
		if paths[path] == nil {
			paths[path] = dict{}
		}
		paths[path].(dict)[strings.ToLower(method)] = operation
	}
	return dict{"openapi": "3.1.0", "info": dict{"title": "Gatehouse", "version": "1", "description": "The gate of a Matter home. Times are RFC 3339, node ids 16 hex digits. " +
		"A stream (application/x-ndjson) ends with a line that has what was asked for, or an error. x-needs is what the role has to allow (see GET session)."},
		"servers": []any{dict{"url": "/"}}, "paths": paths, "security": []any{dict{"session": []any{}}, dict{"token": []any{}}, dict{"basic": []any{}}},
		"components": dict{"schemas": d.of, "securitySchemes": dict{
			"session": dict{"type": "apiKey", "in": "cookie", "name": door.Cookie},
			"token":   dict{"type": "http", "scheme": "bearer"},
			"basic":   dict{"type": "http", "scheme": "basic", "description": "any name, and a token as password"}}}}
}

func operationID(method, path string) string {
	id := strings.ToLower(method)
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/api/v1/"), "/") {
		for word := range strings.FieldsFuncSeq(part, func(r rune) bool { return strings.ContainsRune("{}-.", r) }) {
			id += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return id
}

func pathParameters(path string) (all []any) {
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			all = append(all, dict{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": dict{"type": "string"}})
		}
	}
	return all
}

// schemas are those of our types, by name.
type schemas struct{ of dict }

func (d *schemas) content(sample any) dict {
	switch sample := sample.(type) {
	case anyObject:
		return dict{"application/json": dict{"schema": dict{"type": "object"}}}
	case bareOctets:
		return dict{"application/octet-stream": dict{}}
	case eventLines:
		return dict{"text/event-stream": dict{"schema": dict{"oneOf": []any{d.ref(reflect.TypeFor[DeviceEvent]()), d.ref(reflect.TypeFor[HomeEvent]())}}}}
	case lineTypes:
		one := []any{}
		for _, line := range sample {
			if _, ok := line.(anyObject); ok {
				one = append(one, dict{"type": "object"})
			} else {
				one = append(one, d.ref(reflect.TypeOf(line)))
			}
		}
		return dict{"application/x-ndjson": dict{"schema": dict{"oneOf": append(one, d.ref(reflect.TypeFor[errorBody]()))}}}
	}
	return dict{"application/json": dict{"schema": d.ref(reflect.TypeOf(sample))}}
}

// ref is a reference to the schema of a struct, which is made if it is not
// there yet.
func (d *schemas) ref(t reflect.Type) dict {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if pkg := t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:]; pkg != "portal" {
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	if d.of[name] == nil {
		d.of[name] = dict{} // it may hold itself
		d.of[name] = d.object(t)
	}
	return dict{"$ref": "#/components/schemas/" + name}
}

func (d *schemas) object(t reflect.Type) dict {
	properties, required := dict{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous && tag == "" || tag == "-" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		properties[tag] = d.schema(f.Type)
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, tag)
		}
	}
	slices.Sort(required)
	o := dict{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func (d *schemas) schema(t reflect.Type) dict {
	switch {
	case t.Kind() == reflect.Pointer:
		return d.schema(t.Elem())
	case t == reflect.TypeFor[time.Time]():
		return dict{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return dict{}
	case t.Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()):
		return dict{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		if t.Name() == "" {
			return d.object(t)
		}
		return d.ref(t)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return dict{"type": "string", "contentEncoding": "base64"}
		}
		return dict{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return dict{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Bool:
		return dict{"type": "boolean"}
	case reflect.String:
		return dict{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return dict{"type": "number"}
	case reflect.Interface:
		return dict{}
	}
	return dict{"type": "integer"}
}
