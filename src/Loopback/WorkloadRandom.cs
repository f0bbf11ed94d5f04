namespace Blkring.Loopback;

/// <summary>xorshift64*: fast, without allocation, and the same for the same seed everywhere.</summary>
public struct WorkloadRandom(ulong seed)
{
    private ulong _state = (seed * 0x9E3779B97F4A7C15) + 1;

    public ulong Next()
    {
        _state ^= _state >> 12;
        _state ^= _state << 25;
        _state ^= _state >> 27;
        return _state * 0x2545F4914F6CDD1D;
    }
}
