package api

// Routes lists method and path of everything that is served.
func Routes() [][2]string {
	var out [][2]string
	for _, r := range (&server{}).routes() {
		out = append(out, [2]string{r.method, r.path})
	}
	return out
}

// Prefix is where the API is mounted.
const Prefix = prefix
