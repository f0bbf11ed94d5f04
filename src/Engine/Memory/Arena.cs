using System.Diagnostics;
using Blkring.Interop;

namespace Blkring.Engine.Memory;

/// <summary>
/// The fixed memory of one queue: a single page-aligned, zeroed mapping, cut up once at connect and never again (B1).
/// </summary>
/// <remarks>
/// Pointers into an arena are valid while the owner holds it. Nothing is returned piece by piece: the whole goes at
/// once.
/// </remarks>
public sealed unsafe class Arena : IDisposable
{
    public const int PageBytes = 4096;

    private readonly MappedMemory _memory;
    private nuint _used;

    /// <summary>Maps <paramref name="lengthBytes"/>, rounded up to whole pages.</summary>
    /// <exception cref="OutOfMemoryException">The kernel refused the mapping.</exception>
    public Arena(nuint lengthBytes) => _memory = MappedMemory.Anonymous(Align(lengthBytes, PageBytes), populate: true);

    public nuint LengthBytes => _memory.LengthBytes;

    /// <summary>
    /// Cuts off room for <paramref name="count"/> elements, aligned to <paramref name="alignment"/> (a power of two, in
    /// bytes).
    /// </summary>
    public T* Take<T>(int count, int alignment = 64)
        where T : unmanaged
    {
        nuint start = Align(_used, (nuint)alignment);
        nuint end = start + ((nuint)count * (nuint)sizeof(T));
        // The owner sized the arena from the same figures: running over is our bug, not a guest's doing.
        if (end > _memory.LengthBytes)
            throw new InvalidOperationException($"Arena of {_memory.LengthBytes} bytes asked for {end}.");
        _used = end;
        return (T*)(_memory.Address + start);
    }

    /// <summary>Bytes that <see cref="Take{T}"/> uses at most for such a piece.</summary>
    public static nuint SizeOf<T>(int count, int alignment = 64)
        where T : unmanaged => ((nuint)count * (nuint)sizeof(T)) + (nuint)alignment;

    public void Dispose() => _memory.Dispose();

    private static nuint Align(nuint value, nuint alignment)
    {
        Debug.Assert((alignment & (alignment - 1)) == 0);
        return (value + alignment - 1) & ~(alignment - 1);
    }
}
