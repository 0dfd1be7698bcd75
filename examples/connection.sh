# A bus connection that stays, for scripts that read this in with "." after they said where what is
# heard goes: heard=FILE.
#
# An enumeration or a registration for change notification belongs to the connection that made it
# and ends with it, and each busctl call is a connection of its own. So the calls to such objects go
# through systemd-stdio-bridge, which joins a bus to standard input and output (`busctl --host` runs
# it at the other end) and is where busctl is. It takes D-Bus messages as they are on the wire (the
# D-Bus specification, "Message Protocol"); here they are written as octal numbers for printf.
# shellcheck shell=sh

: "${heard:?says where what is heard goes}"

# octal TEXT
# shellcheck disable=SC1003 # It is a backslash.
octal() { printf %s "$1" | od -An -v -to1 | tr -d '\n' | tr ' ' '\\'; }
# byte N, number N: an unsigned number of one byte, or of four, the lowest first.
byte() { printf '\\%03o' $(($1 & 255)); }
number() { byte "$1" && byte $(($1 >> 8)) && byte $(($1 >> 16)) && byte $(($1 >> 24)); }
# string TEXT: its length, the text, a zero.
string() { number ${#1} && octal "$1" && byte 0; }
# pad OCTAL TO: with zeros up to a multiple of so many bytes.
pad() {
    printf %s "$1"
    missing=$((($2 - ${#1} / 4 % $2) % $2))
    while [ "$missing" -gt 0 ]; do byte 0 && missing=$((missing - 1)); done
}
# field NUMBER TYPE VALUE: a field of a header; its value is a string, or of type g a signature.
field() {
    byte "$1" && byte 1 && octal "$2" && byte 0
    case $2 in
        g) byte ${#3} && octal "$3" && byte 0 ;;
        *) string "$3" ;;
    esac
}

# call DESTINATION PATH INTERFACE METHOD [SIGNATURE BODY]: calls a method and waits for the answer,
# which is the last that was heard unless a signal came after it. The body is octal.
serial=0
call() {
    serial=$((serial + 1))
    fields=$(pad "$(field 1 o "$2")" 8)
    fields=$(pad "$fields$(field 2 s "$3")" 8)
    fields=$(pad "$fields$(field 3 s "$4")" 8)
    fields=$fields$(field 6 s "$1")
    [ $# -eq 4 ] || fields=$(pad "$fields" 8)$(field 8 g "$5")
    body=${6:-}
    # A method call of protocol version 1: length of the body, its number, length of the fields.
    head="l\\001\\000\\001$(number $((${#body} / 4)))$(number "$serial")"
    head=$head$(number $((${#fields} / 4)))
    # shellcheck disable=SC2059 # They are made of what printf is to turn into bytes.
    printf "$head$(pad "$fields" 8)$body" >&3
    # Field 5 of an answer is the number of the call.
    answer=$(printf '05017500%02x%02x0000' $((serial & 255)) $((serial >> 8)))
    until od -An -v -tx1 "$heard" | tr -d ' \n' | grep -q "$answer"; do sleep 0.05; done
}

# heard PATTERN: prints all that was heard and is like that.
heard() { grep -aoE "$1" "$heard" || true; }

mkfifo "$heard.in"
bus=${DBUS_SYSTEM_BUS_ADDRESS:-unix:path=/run/dbus/system_bus_socket}
systemd-stdio-bridge --bus-path="$bus" <"$heard.in" >"$heard" &
exec 3>"$heard.in" # The bridge, and so the connection, ends when this is closed.
rm "$heard.in"
# The bus sees who runs the bridge; the bridge is in our hands and asks nothing.
printf '\0AUTH ANONYMOUS\r\nDATA\r\nBEGIN\r\n' >&3
call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus Hello
