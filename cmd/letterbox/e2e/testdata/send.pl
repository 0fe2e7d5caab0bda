# Send standard input: send.pl MODE HOST PORT CA FROM TO...
use strict;
use warnings;
use Net::SMTP;

my ($mode, $host, $port, $ca, $from, @to) = @ARGV;
my %tls = (SSL_ca_file => $ca, SSL_verify_mode => 1, SSL_verifycn_name => 'localhost');
my $smtp = Net::SMTP->new(Host => $host, Port => $port, Timeout => 60, $mode eq 'tls' ? (SSL => 1, %tls) : ()) or die "connect: $@";
if ($mode eq 'starttls') {
    $smtp->starttls(%tls) or die 'STARTTLS: ', $smtp->message;
}
binmode STDIN;
my $mail = do { local $/; <STDIN> };
$smtp->mail($from) or die 'MAIL: ', $smtp->message;
for (@to) { $smtp->to($_) or die 'RCPT: ', $smtp->message }
$smtp->data or die 'DATA: ', $smtp->message;
$smtp->datasend($mail) or die 'content';
$smtp->dataend or die 'end: ', $smtp->message;
$smtp->quit or die 'QUIT: ', $smtp->message;
