#!/usr/bin/awk -f
# Turns what BIRD 2 shows into lines for `rtmctl register`:
#
#   birdc show route table t100 where source != RTS_DEVICE |
#     awk -f examples/bird-routes.awk | rtmctl register --protocol bgp --label bird
#
# BIRD lists a prefix's best route first, and a program offers one route to a prefix: the others
# are passed over. The routes of BIRD's own interfaces are left out by the `where` above, since the
# kernel has them already. A next hop with a word that rtmctl has no counterpart for (onlink, MPLS
# labels) leaves its route out, with a note on standard error.
#
# Where BIRD writes to a kernel table of its own, `ip` can tell the routes, too (and with -6):
#
#   ip -o route show table 100 proto bird | sed -E 's/\\\t/ /g; s/ (metric|pref|scope|proto|nhid) [^ ]+//g; s/ linkdown//g; s/^((blackhole|unreachable|prohibit) .*) dev lo/\1/; s/^/add /'

# A prefix and its first route: "198.18.0.0/24        unicast [s4 08:24:01.170] * (200)".
/^[0-9a-fA-F:.]+\/[0-9]+[ \t]/ {
    finish()
    prefix = $1
    kind = $2
    next
}

# Another route to the same prefix begins with blanks instead; its next hops are not ours.
/^ +[a-z]/ {
    finish()
    next
}

# "	via 192.0.2.2 on v0 weight 3", "	dev v0"
/^\t(via|dev) / && prefix != "" {
    hop = ""
    for (i = 1; i <= NF; i += 2) {
        word = $i
        if (word == "on")
            word = "dev"
        if (word != "via" && word != "dev" && word != "weight") {
            problem = word
            break
        }
        hop = hop " " word " " $(i + 1)
    }
    hops[++count] = hop
}

# "Table t100:"
/^Table / {
    finish()
}

END {
    finish()
}

function finish(    i, line) {
    if (prefix == "")
        return
    if (problem != "") {
        print "left out: " prefix " (" problem ")" > "/dev/stderr"
    } else if (kind == "blackhole" || kind == "unreachable") {
        print "add " kind " " prefix
    } else if (kind == "prohibited") {
        print "add prohibit " prefix
    } else if (count == 1) {
        print "add " prefix hops[1]
    } else if (count > 1) {
        line = "add " prefix
        for (i = 1; i <= count; i++)
            line = line " nexthop" hops[i]
        print line
    }
    prefix = ""
    problem = ""
    count = 0
}
