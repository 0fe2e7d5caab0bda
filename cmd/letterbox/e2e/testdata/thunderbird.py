"""Lets Thunderbird fetch mail once, without a window: one start, one look for mail, one clean end.

Standard input is one JSON object: profile (a folder; the same again is the same person again), host, port, security (plain, starttls
or tls), user, password, cert (a PEM file: the certificate that is taken), leave (messages stay on the server).

Standard output is one: status (0, what Thunderbird gives as the reason why fetching failed, or -1 when it asked what to do about a
failed login, which is then cancelled), popstate (UIDL to state, as Thunderbird keeps them), messages (what its Inbox holds, base64,
lines ended as in a file of Unix).

Thunderbird is driven over Marionette, the remote control that it has from Firefox. Account, certificate and password are made by its own
interfaces, so they are stored as if somebody had typed them.
"""

import base64
import glob
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

PATIENCE = 110  # seconds for all of it; less than the test has

# What Thunderbird would ask, show or look up by itself. Marionette picks a free port.
PREFERENCES = {
    "marionette.port": 0,
    "app.donation.eoy.version.viewed": 9999,
    "app.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "extensions.update.enabled": False,
    "mail.chat.enabled": False,
    "mail.inappnotifications.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mail.winsearch.firstRunDone": True,
    "mailnews.database.global.indexer.enabled": False,
    "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.trr.mode": 5,
    "security.OCSP.enabled": 0,
    "services.settings.server": "data:,#",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "data:,",
}

# Makes the account where there is none, fetches, and gives back the status once Thunderbird says that the fetch is over.
FETCH = """
const [o, done] = arguments;
(async () => {
  const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
  const accounts = MailServices.accounts;
  let server = accounts.allServers.find(s => s.type == "pop3");
  if (!server) {
    // As after "Confirm Security Exception", which the owner of a self-signed certificate clicks once.
    const certificate = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).constructX509FromBase64(o.der);
    Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService)
      .rememberValidityOverride(o.host, o.port, {}, certificate, false);
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    const origin = "mailbox://" + o.host;
    login.init(origin, null, origin, o.user, o.password, "", "");
    await Services.logins.addLoginAsync(login);
    accounts.createLocalMailAccount();
    server = accounts.createIncomingServer(o.user, o.host, "pop3");
    server.port = o.port;
    server.socketType = {plain: 0, starttls: 2, tls: 3}[o.security];
    server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
    const identity = accounts.createIdentity();
    identity.email = o.user;
    const account = accounts.createAccount();
    account.addIdentity(identity);
    account.incomingServer = server;
  }
  server.loginAtStartUp = server.doBiff = false;
  server.setBoolValue("leave_on_server", o.leave);
  const inbox = server.rootMsgFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
  const status = await new Promise(resolve => MailServices.pop3.GetNewMail(null, {
    OnStartRunningUrl() {},
    OnStopRunningUrl(url, status) { resolve(status); },
  }, inbox, server));
  await new Promise(resolve => server.wrappedJSObject.runWhenIdle ? server.wrappedJSObject.runWhenIdle(resolve) : resolve());
  Services.prefs.savePrefFile(null);
  return status;
})().then(status => done({status}), error => done({error: String(error) + " " + error.stack}));
"""

# Gives back a status of its own once nothing is under way. That the login failed is what the dialogue said.
WAIT = """
const [done] = arguments;
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const {setTimeout} = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const server = MailServices.accounts.allServers.find(s => s.type == "pop3").wrappedJSObject;
const look = () => server.runningClient ? setTimeout(look, 20) : done({status: -1});
look();
"""


class Marionette:
    """Packets of LENGTH:JSON, each a list of type, number, and command or answer."""

    def __init__(self, profile, process, deadline):
        port = os.path.join(profile, "MarionetteActivePort")
        while not (os.path.exists(port) and open(port).read().strip()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Thunderbird opened no port for its remote control")
            time.sleep(0.05)
        self.socket = socket.create_connection(("127.0.0.1", int(open(port).read())), PATIENCE)
        self.stream = self.socket.makefile("rb")
        self.number = 0
        self.read()
        self.call("WebDriver:NewSession")
        self.call("Marionette:SetContext", value="chrome")
        self.call("WebDriver:SetTimeouts", script=PATIENCE * 1000)

    def read(self):
        length = b""
        while not length.endswith(b":"):
            octet = self.stream.read(1)
            if not octet:
                raise RuntimeError("Thunderbird closed its remote control")
            length += octet
        return json.loads(self.stream.read(int(length[:-1])))

    def call(self, command, **parameters):
        self.number += 1
        packet = json.dumps([0, self.number, command, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(packet), packet))
        _, _, error, value = self.read()
        if error:
            raise RuntimeError(f"{command}: {error}")
        return value

    def script(self, source, *arguments):
        return self.call("WebDriver:ExecuteAsyncScript", script=source, args=arguments, newSandbox=False)["value"]

    def cancel(self):
        """Cancels a dialogue, where there is one."""
        try:
            self.call("WebDriver:DismissAlert")
        except RuntimeError as error:
            if "no such alert" not in str(error):
                raise


def start(o):
    """Starts Thunderbird on the profile, reaching no network but this machine's."""
    profile, home = o["profile"], os.path.join(o["profile"], "home")
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(profile, "user.js"), "w") as f:
        f.writelines(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in PREFERENCES.items())
    port = os.path.join(profile, "MarionetteActivePort")
    if os.path.exists(port):
        os.unlink(port)
    environment = {
        "PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "MOZ_CRASHREPORTER_DISABLE": "1", "MOZ_DISABLE_NONLOCAL_CONNECTIONS": "1",
    }
    log = open(os.path.join(profile, "thunderbird.log"), "ab")
    return subprocess.Popen(
        ["thunderbird", "--headless", "--no-remote", "--profile", profile, "--marionette", "--remote-allow-system-access"],
        env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def fetch(o, process, deadline):
    control = Marionette(o["profile"], process, deadline)
    answer = control.script(FETCH, o)
    while answer is None:  # a dialogue: the login failed, and a person is asked what to do
        control.cancel()
        answer = control.script(WAIT)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    control.call("Marionette:Quit", flags=["eAttemptQuit"])
    if process.wait(max(1, deadline - time.monotonic())) != 0:
        raise RuntimeError(f"Thunderbird ended with status {process.returncode}")
    return answer["status"]


def account_file(o, name):
    found = glob.glob(os.path.join(glob.escape(o["profile"]), "Mail", "*", name))
    found = [path for path in found if "Local Folders" not in path]
    return open(found[0], "rb").read() if found else b""


def popstate(o):
    """The lines of popstate.dat are STATE UIDL TIME; k: kept on the server, d: to be deleted there, b: only in part here."""
    lines = [line.split(" ") for line in account_file(o, "popstate.dat").decode().splitlines()]
    return {line[1]: line[0] for line in lines if len(line) == 3 and line[0] in "kdbf"}


def messages(o):
    """What Inbox, an mbox, holds: without Thunderbird's own lines on top, and the quoting of "From " lines undone."""
    found = []
    for part in re.split(rb"(?m)^(?=From )", account_file(o, "Inbox"))[1:]:
        part = part.replace(b"\r\n", b"\n").removesuffix(b"\n")
        part = re.sub(rb"\AFrom .*\n(?:(?:X-Account-Key|X-UIDL|X-Mozilla-[A-Za-z0-9]+):.*\n)*", b"", part)
        part = re.sub(rb"(?m)^>(>*From )", rb"\1", part)
        found.append(base64.b64encode(part).decode())
    return found


def main():
    o = json.load(sys.stdin)
    pem = open(o["cert"]).read()
    o["der"] = "".join(pem.split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0].split())
    deadline = time.monotonic() + PATIENCE
    process = start(o)
    try:
        status = fetch(o, process, deadline)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    json.dump({"status": status, "popstate": popstate(o), "messages": messages(o)}, sys.stdout)


main()
