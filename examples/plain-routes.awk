# Routes by next-hop objects as if they had none:
#
#     { ip -N nexthop show proto 82; ip -o -N route show proto 82; } | awk -f plain-routes.awk
#
# prints what `rtmctl routes --best` does. With net.ipv4.nexthop_compat_mode=0 the kernel says of a route
# only which object it has; with 1 the routes say enough, and the first command can be left out.
#
# rtmd lets routes refer to objects (`nhid`). Their weights are scaled up, and a last next hop of weight 1
# beside a heavy one is a spare: it gets no packets until the others are gone.

function divisor(a, b,    rest) {
    while (b > 0) {
        rest = a % b
        a = b
        b = rest
    }
    return a
}

# Without a gateway an IPv4 route ends on the link, which is not said of one by an object.
function scoped(line) {
    if (line !~ /:/ && line !~ / via / && line ~ / dev /)
        sub(/ dev [^ ]+/, "& scope 253", line)
    return line
}

# The way of an object, or the parts of its group, each with a weight behind a comma unless that is 1.
/^id / {
    if ($3 == "group") {
        group[$2] = $4
    } else {
        text = $0
        sub(/^id [0-9]+ /, "", text)
        sub(/ scope [0-9]+/, "", text)
        sub(/ proto [0-9]+/, "", text)
        object[$2] = text
    }
    next
}

# As the kernel would tell it otherwise.
function spelled_out(line, id,    parts, count, part, leg, text) {
    count = split(group[id], parts, "/")
    for (part = 1; part <= count; part++) {
        split(parts[part], leg, ",")
        text = object[leg[1]]
        if (line !~ /:/ && text ~ /via [^ ]*:/)
            sub(/via /, "via inet6 ", text)
        line = line "\\\tnexthop " text " weight " (leg[2] == "" ? 1 : leg[2])
    }
    return line
}

/ nhid / && !/ (via|dev) / {
    match($0, / nhid [0-9]+/)
    $0 = spelled_out($0, substr($0, RSTART + 6, RLENGTH - 6))
}

!/ nhid / {
    gsub(/\\/, "\n")
    print
    next
}

{
    sub(/ nhid [0-9]+/, "")
    hops = split($0, part, /\\\tnexthop /) - 1
    if (hops < 1) {
        print scoped($0)
        next
    }
    heaviest = 0
    for (hop = 1; hop <= hops; hop++) {
        text = part[hop + 1]
        weight[hop] = match(text, / weight [0-9]+/) ? substr(text, RSTART + 8, RLENGTH - 8) + 0 : 1
        sub(/ weight [0-9]+ */, "", text)
        sub(/ +$/, "", text)
        way[hop] = text
        if (weight[hop] > heaviest)
            heaviest = weight[hop]
    }
    if (hops > 1 && weight[hops] == 1 && heaviest > 100)
        hops--
    if (hops == 1) {
        to = part[1]
        sub(/ .*/, "", to)
        print scoped(to " " way[1] substr(part[1], length(to) + 1))
        next
    }
    common = 0
    for (hop = 1; hop <= hops; hop++)
        common = divisor(weight[hop], common)
    print part[1]
    for (hop = 1; hop <= hops; hop++)
        print "\tnexthop " way[hop] " weight " weight[hop] / common " "
}
