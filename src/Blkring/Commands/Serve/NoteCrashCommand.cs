using System.CommandLine;
using Blkring.Engine.Xenbus;
using Blkring.Settings;

namespace Blkring.Commands.Serve;

/// <summary>
/// <c>blkring note-crash</c>: systemd runs it when the daemon has ended (ExecStopPost=), because a process that dies of
/// a signal cannot say so itself. The next daemon counts the crash against the request that was worked on.
/// </summary>
internal static class NoteCrashCommand
{
    /// <summary>systemd.exec(5): how the daemon ended, SEGV for example.</summary>
    private const string StatusVariable = "EXIT_STATUS";

    public static Command Create()
    {
        Command command = new(
            "note-crash",
            $"Notes for the next daemon that this one has crashed, if ${StatusVariable} names the signal of a crash."
        )
        {
            Hidden = true,
        };
        command.SetAction(_ => Note(RuntimeFolder.Path, Environment.GetEnvironmentVariable(StatusVariable)));
        return command;
    }

    private static int Note(string runtimeFolder, string? status)
    {
        string journals = Path.Combine(runtimeFolder, RuntimeFolder.Journals);
        if (!CrashNote.IsOwnFault(status) || !Directory.Exists(journals))
            return ExitCode.Ok;
        foreach (string folder in Directory.EnumerateDirectories(journals))
            File.WriteAllText(CrashNote.PathIn(folder), status + "\n");
        return ExitCode.Ok;
    }
}
