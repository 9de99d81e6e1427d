package oidcop

import (
	"html/template"
	"net/http"
)

var form = template.Must(template.New("login").Parse(`<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Sign in</title>
<h1>Sign in</h1><form method="post" action="/login/username">
<input type="hidden" name="authRequestID" value="{{.}}">
<p><label>User <input name="username" autofocus></label>
<p><label>Password <input name="password" type="password"></label>
<p><button>Sign in</button></form>`))

// loginForm asks who is there.
func loginForm(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = form.Execute(w, r.FormValue("authRequestID")) // the client has gone
}
