namespace Blkring.Tests.Kit;

/// <summary>
/// What the rigs of a test noticed and the test itself did not check: an operation beyond the end of the disk, pages
/// that stay mapped, a thread that does not stop.
/// </summary>
/// <remarks>
/// A rig may be disposed while the exception of a failed assertion unwinds the stack. If it threw then, it would hide
/// that failure. So it reports here, and <see cref="Verify"/> is called after each test. A rig that was created and
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

    /// <summary>
    /// Fails with everything that was reported since the last call, and with the rigs that are still open.
    /// </summary>
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

/// <summary>A rig noticed something wrong, whether or not the test's own assertions passed.</summary>
public sealed class ViolationException(string message) : Exception(message);
