package storesock

import (
	"context"
	"encoding/binary"
	"math"
	"net/netip"

	"example.org/letterbox/store"
)

// canaryFrame is a client's question, of the deliver and of the pickup service, whether the canary connects from an address
// and port now. The answer is one octet. In the pickup service it is the only frame of its connection.
const canaryFrame frameType = 'Y'

var (
	_ store.CanaryWatch = (*Deliverer)(nil)
	_ store.CanaryWatch = (*Pickup)(nil)
)

func peerFrame(peer netip.AddrPort) []byte {
	b := []byte{byte(canaryFrame), 0, 0, 0, 0}
	b = appendPeer(b, peer.Addr())
	b = binary.AppendUvarint(b, uint64(peer.Port()))
	return closeFrame(b, 0, len(b)-headLength)
}

func decodePeer(b []byte) (peer netip.AddrPort, ok bool) {
	f := fields{b: b}
	peer = netip.AddrPortFrom(f.peer(), uint16(f.uint(math.MaxUint16)))
	return peer, f.end()
}

// canaryAnswer asks the owner's side. A store that knows of no canary has none.
func canaryAnswer(ctx context.Context, of any, peer netip.AddrPort) ([]byte, error) {
	watch, ok := of.(store.CanaryWatch)
	if !ok {
		return []byte{0}, nil
	}
	is, err := watch.IsCanary(ctx, peer)
	if is {
		return []byte{1}, err
	}
	return []byte{0}, err
}

func decodeCanary(answer []byte) (is, ok bool) {
	return len(answer) == 1 && answer[0] == 1, len(answer) == 1 && answer[0] <= 1
}

// IsCanary implements store.CanaryWatch.
func (d *Deliverer) IsCanary(ctx context.Context, peer netip.AddrPort) (bool, error) {
	w, answer, err := d.pool.call(ctx, nil, peerFrame(peer))
	if err != nil {
		return false, err
	}
	is, ok := decodeCanary(answer)
	if !ok {
		w.conn.Close()
		return false, transport(ctx, errFrame)
	}
	d.pool.put(w)
	return is, nil
}

// IsCanary implements store.CanaryWatch.
func (p *Pickup) IsCanary(ctx context.Context, peer netip.AddrPort) (bool, error) {
	w, err := p.dial(ctx)
	if err != nil {
		return false, err
	}
	defer w.conn.Close()
	answer, err := roundTrip(ctx, w, peerFrame(peer))
	if err != nil {
		return false, transport(ctx, err)
	}
	is, ok := decodeCanary(answer)
	if !ok {
		return false, transport(ctx, errFrame)
	}
	return is, nil
}

// canary answers a daemon's question.
func (d *deliverSession) canary(ctx context.Context, peer netip.AddrPort) error {
	d.drop()
	answer, err := canaryAnswer(ctx, d.deliverer, peer)
	if err != nil {
		return d.fail("canary", "", err)
	}
	return d.wire.send(appendFrame(nil, answerFrame, answer))
}

// canary answers a daemon's question; the connection ends with it.
func (p *pickupSession) canary(ctx context.Context, content []byte) error {
	peer, ok := decodePeer(content)
	if !ok {
		return errFrame
	}
	answer, err := canaryAnswer(ctx, p.pickup, peer)
	if err != nil {
		return p.fail("canary", err)
	}
	return p.wire.send(appendFrame(nil, answerFrame, answer))
}
