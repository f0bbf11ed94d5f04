using System.Text;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using Blkring.Generators.Parsing;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.AbiTools;

/// <summary>A spec that cannot be used; the message is one line with file, line and advice.</summary>
public sealed class SpecException(string message) : Exception(message);

/// <summary>Reads specs outside the compiler, by the generator's own parser.</summary>
internal static class SpecFile
{
    /// <exception cref="SpecException">The file cannot be read.</exception>
    public static string ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new SpecException($"{path} cannot be read: {error.Message}");
        }
    }

    /// <exception cref="SpecException">The spec is wrong; the message is its first problem.</exception>
    public static LaidOutSpec Parse(string path, string text) =>
        Read(path, text, LayoutCalculator.Calculate, out DiagnosticInfo? problem)
        ?? throw new SpecException(problem!.ToDiagnostic().ToString());

    /// <summary>Reads a spec and lays it out; null with the first problem if it is wrong.</summary>
    /// <param name="layOut">With or without the rings, which only the generator needs.</param>
    public static LaidOutSpec? Read(
        string path,
        string text,
        Func<ProtocolSpec, LayoutResult> layOut,
        out DiagnosticInfo? problem
    )
    {
        var source = SourceText.From(text, Encoding.UTF8);
        SpecReading reading = SpecReader.Read(path, source, CancellationToken.None);
        EquatableArray<DiagnosticInfo> problems = reading.Problems;
        if (reading.Spec is { } spec)
        {
            LayoutResult result = layOut(spec);
            if (result.Layout is { } layout)
            {
                problem = null;
                return new LaidOutSpec(spec, layout);
            }
            problems = SpecReader.Locate(path, source, result.Problems, CancellationToken.None);
        }
        problem = problems[0];
        return null;
    }
}

/// <summary>A spec without problems, and its layout.</summary>
internal sealed record LaidOutSpec(ProtocolSpec Spec, ProtocolLayout Layout);
