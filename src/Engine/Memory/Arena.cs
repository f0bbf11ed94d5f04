using System.Diagnostics;
using Blkring.Interop;

namespace Blkring.Engine.Memory;

/// <summary>
/// The fixed memory of one queue: a single page-aligned, zeroed mapping, cut into pieces once at connect (B1).
/// </summary>
/// <remarks>
/// <para>Pointers into an arena are valid while the owner holds it. The pieces are freed together.</para>
/// <para>
/// An owner of many pieces need not add up their sizes: it takes them once from <see cref="ToMeasure"/>, calls
/// <see cref="Map"/>, and takes them again, by the same code.
/// </para>
/// </remarks>
public sealed unsafe class Arena : IDisposable
{
    public const int PageBytes = 4096;

    private MappedMemory? _memory;
    private nuint _used;

    /// <summary>Maps <paramref name="lengthBytes"/>, rounded up to whole pages.</summary>
    /// <exception cref="IOException">The kernel refused the mapping.</exception>
    public Arena(nuint lengthBytes) => _memory = MapPages(lengthBytes);

    private Arena() { }

    /// <summary>An arena without memory. It counts what is taken; the pointers must not be followed.</summary>
    public static Arena ToMeasure() => new();

    /// <summary>True until <see cref="Map"/>: the pieces have no memory yet.</summary>
    public bool IsMeasuring => _memory is null;

    public nuint LengthBytes => _memory?.LengthBytes ?? Align(_used, PageBytes);

    /// <summary>Ends measuring: maps as much memory as was taken. The same pieces can now be taken again.</summary>
    /// <exception cref="IOException">The kernel refused the mapping.</exception>
    public void Map()
    {
        Debug.Assert(IsMeasuring);
        _memory = MapPages(_used);
        _used = 0;
    }

    /// <summary>
    /// Takes a piece of <paramref name="count"/> elements, aligned to <paramref name="alignment"/> (a power of two, in
    /// bytes).
    /// </summary>
    public T* Take<T>(int count, int alignment = 64)
        where T : unmanaged
    {
        nuint start = Align(_used, (nuint)alignment);
        nuint end = start + ((nuint)count * (nuint)sizeof(T));
        // The owner took the same pieces when it measured, so an overrun is a bug and not caused by a guest.
        if (_memory is not null && end > _memory.LengthBytes)
            throw new InvalidOperationException($"Arena of {_memory.LengthBytes} bytes asked for {end}.");
        _used = end;
        return _memory is null ? null : (T*)(_memory.Address + start);
    }

    public void Dispose() => _memory?.Dispose();

    private static MappedMemory MapPages(nuint lengthBytes) =>
        MappedMemory.Anonymous(Align(Math.Max(lengthBytes, 1), PageBytes), populate: true);

    private static nuint Align(nuint value, nuint alignment)
    {
        Debug.Assert((alignment & (alignment - 1)) == 0);
        return (value + alignment - 1) & ~(alignment - 1);
    }
}
