
func attempt(what string, action func() error) {
	if err := action(); err == nil {
		fmt.Println("ESCAPED", what)
	} else {
		fmt.Println("held", what, err)
	}
}
