# Tries, as the service's user in the service's sandbox, what each line of the unit is to prevent, and what
# the service has to be able to do. Ends with 1 if one of them is not as it should be.
#
# In Perl, because every Debian has it, and it makes system calls by their numbers.
use strict;
use warnings;
use Errno ();
use Fcntl;
use Socket;

my $failed = 0;

# Whether a line of the unit does what it is for: COULD is true if what it is to prevent was done.
sub prevents {
    my ($line, $what, $could) = @_;
    my $why = $could || $! == 0 || $!{ENOTTY} ? '' : " ($!)"; # ENOTTY is what Perl's own open() leaves
    print "   $line: " . ($could ? "FAILS: $what" : "no $what$why") . "\n";
    $failed = 1 if $could;
    $! = 0;
}

sub needs {
    my ($what, $could) = @_;
    print "   it can $what" . ($could ? '' : " NOT ($!)") . "\n";
    $failed = 1 unless $could;
}

sub writes { my $file = shift; sysopen(my $fh, $file, O_WRONLY | O_CREAT) or return 0; unlink $file if $file =~ /sandbox-test/; 1 }
sub reads { open(my $fh, '<', shift) or return 0; 1 }
sub status { my $key = shift; open(my $fh, '<', '/proc/self/status') or return ''; local $/; <$fh> =~ /^$key:\s*(\S+)/m ? $1 : '' }
# The options of the mount that a place is in: of the last one over it.
sub options {
    my $place = shift;
    my ($length, $options) = (-1, '');
    open(my $fh, '<', '/proc/self/mountinfo') or die $!;
    while (my $line = <$fh>) {
        my ($at, $how) = (split ' ', $line)[4, 5];
        next unless "$place/" =~ m{^\Q$at\E(/|(?<=/))} && length $at >= $length;
        ($length, $options) = (length $at, $how);
    }
    return $options;
}
# Opens a socket of a family, whose number may be one that Perl has no word for.
sub opens { my ($family, $type, $protocol) = @_; socket(my $s, $family, $type, $protocol) ? 1 : 0 }

needs('write /run/rtmd', writes('/run/rtmd/sandbox-test'));
needs('write /var/lib/rtmd', writes('/var/lib/rtmd/sandbox-test'));
needs('read /etc/rtmd/rtmd.toml', reads('/etc/rtmd/rtmd.toml'));
needs('read /proc/sys/net', reads('/proc/sys/net/ipv4/nexthop_compat_mode'));
needs('open a netlink socket', opens(16, SOCK_RAW, 0));
needs('open a Unix socket', opens(AF_UNIX, SOCK_STREAM, 0));
needs('change routes', system('ip route add blackhole 198.18.0.0/24 proto 99 && ip route del blackhole 198.18.0.0/24 proto 99') == 0);
needs('execute its own program', system('/usr/sbin/rtmd --version >/dev/null') == 0);

my $net_admin = '0000000000001000';
prevents('CapabilityBoundingSet=', 'capability but CAP_NET_ADMIN', status('CapBnd') ne $net_admin);
prevents('AmbientCapabilities=', 'capability but CAP_NET_ADMIN in effect', status('CapEff') ne $net_admin);
prevents('NoNewPrivileges=', 'new privileges', status('NoNewPrivs') ne '1');
prevents('User=', 'root', $> == 0);
# Not by writing: a file that only root may write would not tell.
for my $place ('/', '/etc', '/usr/sbin', '/var/lib', '/run', '/run/systemd') {
    prevents('ProtectSystem=', "writing below $place", options($place) !~ /\bro\b/);
}
open(my $own, '>', '/run/rtmd/sandbox-program') or die $!;
print $own "#!/bin/sh\nexit 0\n";
close $own;
chmod 0755, '/run/rtmd/sandbox-program';
prevents('NoExecPaths=', 'executing what it wrote', do { no warnings; system { '/run/rtmd/sandbox-program' } 'it' } == 0);
prevents('RestrictSUIDSGID=', 'set-user-id file', chmod(04755, '/run/rtmd/sandbox-program') == 1);
unlink '/run/rtmd/sandbox-program';
prevents('ProtectHome=', 'looking into /home', opendir(my $home, '/home/alice'));
prevents('PrivateTmp=', "seeing others' /tmp", -e '/tmp/of-others');
prevents('PrivateDevices=', 'devices of the machine', -e '/dev/kmsg' || -e '/dev/mem' || -e '/dev/console');
prevents('PrivateIPC=', "IPC objects of others", do { open(my $fh, '<', '/run/sandbox.ipc') or die $!; my $of = <$fh>; chomp $of; $of eq readlink '/proc/self/ns/ipc' });
prevents('ProtectProc=', "seeing others' processes", -e '/proc/1');
prevents('ProtectKernelTunables=', 'changing how the network works', writes('/proc/sys/net/ipv4/ip_forward'));
prevents('ProtectKernelTunables=', "changing of $_", options($_) !~ /\bro\b/) for '/proc/sys', '/sys/kernel';
prevents('ProtectControlGroups=', 'changing cgroups', options('/sys/fs/cgroup') !~ /\bro\b/);
prevents('RestrictAddressFamilies=', 'IPv4 socket', opens(AF_INET, SOCK_DGRAM, 0));
prevents('RestrictAddressFamilies=', 'IPv6 socket', opens(AF_INET6, SOCK_DGRAM, 0));
prevents('RestrictAddressFamilies=', 'packet socket', opens(17, SOCK_RAW, 0));
prevents('InaccessiblePaths=', 'writing of /dev/shm', writes('/dev/shm/sandbox-test'));
prevents('NoExecPaths=', "programs in $_", options($_) !~ /\bnoexec\b/) for '/run/rtmd', '/var/lib/rtmd', '/tmp', '/var/tmp';
prevents('UMask=', 'file that others can read', (umask) != 077);

if (`uname -m` =~ /^x86_64/) {
    # Their numbers on this machine, syscall_64.tbl of Linux.
    my %call = (mmap => 9, sched_setscheduler => 144, personality => 135, unshare => 272, clock_settime => 227,
        sethostname => 170, init_module => 175, syslog => 103, mount => 165, ptrace => 101, chroot => 161, bpf => 321);
    my $does = sub { my $name = shift; syscall($call{$name}, @_) >= 0 };
    for my $kind (['user', 0x10000000], ['network', 0x40000000], ['mount', 0x20000]) {
        prevents('RestrictNamespaces=', "$$kind[0] namespace", $does->('unshare', $$kind[1]));
    }
    # Readable, writable and executable; private, of no file.
    prevents('MemoryDenyWriteExecute=', 'memory that can be written and executed', syscall($call{mmap}, 0, 4096, 7, 0x22, -1, 0) > 0);
    prevents('RestrictRealtime=', 'realtime scheduling', $does->('sched_setscheduler', 0, 2, pack('i', 1)));
    prevents('LockPersonality=', 'other personality', $does->('personality', 0x0040000));
    prevents('ProtectClock=', 'setting of the clock', $does->('clock_settime', 0, pack('qq', time, 0)));
    prevents('ProtectHostname=', 'other host name', $does->('sethostname', my $name = 'other', 5));
    prevents('ProtectKernelModules=', 'kernel module', $does->('init_module', my $image = '', 0, my $options = ''));
    prevents('ProtectKernelLogs=', 'log of the kernel', $does->('syslog', 3, my $log = ' ' x 64, 64));
    prevents('SystemCallFilter=', 'mounting', $does->('mount', my $source = 'none', my $at = '/run/rtmd', my $type = 'tmpfs', 0, 0));
    prevents('SystemCallFilter=', 'tracing', $does->('ptrace', 0, 0, 0, 0));
    prevents('SystemCallFilter=', 'other root', $does->('chroot', my $root = '/run/rtmd'));
    prevents('SystemCallFilter=', 'program for the kernel', $does->('bpf', 0, 0, 0));
}
exit $failed;
