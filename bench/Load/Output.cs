using System.Text;
using System.Text.Json;
using Spectre.Console;

namespace Blkring.Load;

/// <summary>What a command prints: a table for people, or one JSON object.</summary>
internal static class Output
{
    /// <param name="width">In characters, where the output is no terminal.</param>
    public static void Draw(Table table, int width = 140)
    {
        if (Console.IsOutputRedirected)
        {
            AnsiConsole.Profile.Width = width;
            AnsiConsole.Profile.Capabilities.Ansi = false;
        }
        AnsiConsole.Write(table);
    }

    /// <param name="write">Writes the members of the object, but for the number of processors, which all have.</param>
    public static void PrintJson(Action<Utf8JsonWriter> write)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteNumber("processors", Environment.ProcessorCount);
            write(writer);
            writer.WriteEndObject();
        }
        Console.WriteLine(Encoding.UTF8.GetString(stream.ToArray()));
    }

    /// <summary>A member <c>rows</c>: an object for each row.</summary>
    public static void WriteRows<TRow>(Utf8JsonWriter writer, IEnumerable<TRow> rows, Action<TRow> write)
    {
        writer.WriteStartArray("rows");
        foreach (TRow row in rows)
        {
            writer.WriteStartObject();
            write(row);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
    }
}
