# Fetch and delete everything, one file a message: fetch.pl MODE HOST PORT CA USER PASSWORD FOLDER
use strict;
use warnings;
use Net::POP3;

my ($mode, $host, $port, $ca, $user, $password, $folder) = @ARGV;
my %tls = (SSL_ca_file => $ca, SSL_verify_mode => 1, SSL_verifycn_name => 'localhost');
my $pop = Net::POP3->new(Host => $host, Port => $port, Timeout => 60, $mode eq 'tls' ? (SSL => 1, %tls) : ()) or die "connect: $@";
if ($mode eq 'starttls') {
    $pop->starttls(%tls) or die 'STLS: ', $pop->message;
}
my $count = $pop->login($user, $password);
defined $count or die 'login: ', $pop->message;
for my $i (1 .. $count) {
    my $lines = $pop->get($i) or die 'RETR: ', $pop->message;
    open my $file, '>:raw', sprintf('%s/%04d', $folder, $i) or die $!;
    print $file @$lines;
    close $file or die $!;
    $pop->delete($i) or die 'DELE: ', $pop->message;
}
$pop->quit or die 'QUIT: ', $pop->message;
