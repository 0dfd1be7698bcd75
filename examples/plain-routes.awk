# Routes by next-hop objects as if they had none: `ip -o -N route show proto 82 | awk -f plain-routes.awk`
# prints what `rtmctl routes --best` does.
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
