"""Fetch and delete everything, one file a message: fetch.py MODE HOST PORT CA USER PASSWORD FOLDER"""
import os
import poplib
import ssl
import sys

mode, host, port, ca, user, password, folder = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if mode == "tls":
    client = poplib.POP3_SSL(host, int(port), context=context)
else:
    client = poplib.POP3(host, int(port))
if mode == "starttls":
    client.stls(context=context)
client.user(user)
client.pass_(password)
count, _ = client.stat()
for i in range(1, count + 1):
    _, lines, _ = client.retr(i)
    with open(os.path.join(folder, f"{i:04d}"), "wb") as f:
        f.writelines(line + b"\r\n" for line in lines)
    client.dele(i)
client.quit()
