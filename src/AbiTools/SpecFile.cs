using Blkring.Generators.Model;
using Blkring.Generators.Parsing;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.AbiTools;

/// <summary>A spec that cannot be used; the message is one line with file, line and advice.</summary>
public sealed class SpecException(string message) : Exception(message);

/// <summary>Reading specs outside the compiler, by the generator's own parser.</summary>
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

    /// <exception cref="SpecException">The text is not a right spec: the first problem.</exception>
    public static ProtocolSpec Parse(string path, string text, bool checksRings = true)
    {
        SpecReading reading = SpecReader.Read(path, SourceText.From(text), CancellationToken.None, checksRings);
        if (reading.Spec is { } spec)
            return spec;
        throw new SpecException(reading.Problems[0].ToDiagnostic().ToString());
    }
}
