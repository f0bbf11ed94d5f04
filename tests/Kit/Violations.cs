namespace Blkring.Tests.Kit;

/// <summary>
/// What the rigs of a test noticed that the test itself did not ask about: an operation behind the disk's end, pages
/// that stay mapped, a thread that does not stop.
/// </summary>
/// <remarks>
/// A rig is disposed while a failed assertion passes by, and must not throw then: that would hide the assertion. So it
/// reports here, and whoever runs the tests calls <see cref="Verify"/> after each of them. A rig that was created and
/// never disposed is a violation too.
/// </remarks>
public static class Violations
{
    private static readonly Lock s_lock = new();
    private static readonly List<string> s_reports = [];
    private static readonly HashSet<object> s_open = [];

    /// <summary>A rig that has to be closed before the end of the test.</summary>
    public static void Open(object rig)
    {
        lock (s_lock)
            s_open.Add(rig);
    }

    public static void Close(object rig)
    {
        lock (s_lock)
            s_open.Remove(rig);
    }

    public static void Report(string violation)
    {
        lock (s_lock)
            s_reports.Add(violation);
    }

    /// <summary>Fails with everything that was reported since the last call, and with the rigs that are still open.</summary>
    public static void Verify()
    {
        lock (s_lock)
        {
            string[] found = [.. s_reports, .. s_open.Select(rig => $"a {rig.GetType().Name} was never disposed")];
            s_reports.Clear();
            s_open.Clear();
            ThrowIfAny(found);
        }
    }

    public static void ThrowIfAny(IReadOnlyCollection<string> violations)
    {
        if (violations.Count > 0)
            throw new ViolationException(string.Join('\n', violations));
    }
}

/// <summary>A rig noticed something wrong, however the test's own assertions went.</summary>
public sealed class ViolationException(string message) : Exception(message);
