"""Send standard input as it is: send.py MODE HOST PORT CA FROM TO..."""
import smtplib
import ssl
import sys

mode, host, port, ca, sender = sys.argv[1:6]
context = ssl.create_default_context(cafile=ca)
if mode == "tls":
    client = smtplib.SMTP_SSL(host, int(port), context=context)
elif mode == "lmtp":
    client = smtplib.LMTP(host, int(port))
else:
    client = smtplib.SMTP(host, int(port))
if mode == "starttls":
    client.starttls(context=context)
refused = client.sendmail(sender, sys.argv[6:], sys.stdin.buffer.read())
client.quit()
sys.exit(f"refused: {refused}" if refused else 0)
