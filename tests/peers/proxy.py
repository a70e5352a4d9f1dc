# SPDX-License-Identifier: Apache-2.0
"""A bad network between a client and a server: a TCP proxy that delays, holds back, tears and cuts what goes through.

  proxy = Proxy(); proxy.target = PORT     connections to proxy.port on 127.0.0.1 go to that port
  proxy.slow(SECONDS)                      every piece comes that much later
  proxy.stall()                            nothing moves, and nobody is told
  proxy.tear(BYTES)                        each connection ends after about so many bytes, in the middle of what it said
  proxy.cut()                              no connection at all
  proxy.heal()                             as if nothing had been
"""
import random
import socket
import threading
import time

PIECE = 65536


class Proxy:
    def __init__(self):
        self.target, self.closed, self.rng = None, False, random.Random(11)
        self.lock = threading.Lock()
        self.flowing = threading.Event()
        self.pairs = set()
        self.heal()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def heal(self):
        self.delay, self.limit, self.is_cut = 0.0, 0, False
        self.flowing.set()

    def slow(self, seconds):
        self.delay = seconds

    def stall(self):
        self.flowing.clear()

    def tear(self, size):
        self.limit = size

    def cut(self):
        self.is_cut = True
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self.end(pair)

    def close(self):
        self.closed = True
        self.heal()
        self.listener.close()
        self.cut()

    def accept(self):
        while not self.closed:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            try:
                if self.is_cut:
                    raise OSError("cut")
                far = socket.create_connection(("127.0.0.1", self.target), timeout=10)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            pair = (near, far)
            with self.lock:
                self.pairs.add(pair)
            for ends in (pair, pair[::-1]):
                threading.Thread(target=self.pump, args=(pair, *ends), daemon=True).start()

    def pump(self, pair, source, sink):
        sent = 0
        try:
            while data := source.recv(PIECE):
                if self.delay:
                    time.sleep(self.delay)
                self.flowing.wait()
                if self.limit and sent + len(data) > self.limit * self.rng.uniform(0.5, 1.5):
                    sink.sendall(data[:len(data) // 2])
                    break
                sink.sendall(data)
                sent += len(data)
        except OSError:
            pass
        self.end(pair)

    def end(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for one in pair:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
