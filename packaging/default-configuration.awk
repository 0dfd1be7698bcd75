# The configuration that says every default, as README.md shows it, with every line commented out.
BEGIN {
    print "# The configuration of rtmd: what is commented out here is the default. A key counts for the [section]"
    print "# above it, so uncomment that too. `systemctl reload rtmd` says what is wrong with it, if anything is."
    print ""
}
/^## / { section = ($0 == "## Configure it") }
/^```/ { code = section && !done && $0 == "```toml"; done = done || section; next }
code { print $0 == "" ? "" : "#" $0 }
END { if (!done) exit 1 }
